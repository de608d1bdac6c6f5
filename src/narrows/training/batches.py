"""The batches of an epoch, for all members of a run at once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from narrows.data import Dataset, epoch_rows
from narrows.data.augment import crop_and_flip
from narrows.training.config import TrainConfig
from narrows.training.members import Members

__all__ = ["seeded_batches"]


def seeded_batches(
    data: Dataset, members: Members, config: TrainConfig
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches `[members, batch, ...]` of one epoch, each member's in the order of its seed.

    Augmentation depends on the seed too: members of one seed see the same images.

    Args:
        data: the training set, on the members' device.
        members: which seeds there are.
        config: batch size and augmentation.
    """
    seeds = members.seed_index
    for rows in epoch_rows(len(data), config.batch_size, members.order_generators):
        rows = rows.to(members.device)
        if config.augment == "none":
            yield data.batch(rows[seeds])
        else:
            x, y = data.batch(rows)
            yield _augmented(x, members.augment_generators)[seeds], y[seeds]


def _augmented(x: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Images `[seeds, batch, ...]`, cropped and mirrored by the generator of each seed."""
    pairs = zip(x, generators, strict=True)
    return torch.stack([crop_and_flip(images, generator) for images, generator in pairs])
