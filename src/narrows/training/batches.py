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
    """Batches `[members, batch, ...]`, each member's in the order of its own seed.

    Augmented images are those of a seed too: members of one seed see the same ones.
    """
    own = members.seed_index
    for rows in epoch_rows(len(data), config.batch_size, members.order_generators):
        rows = rows.to(members.device)
        if config.augment == "none":
            yield data.batch(rows[own])
        else:
            x, y = data.batch(rows)
            yield _moved(x, members.augment_generators)[own], y[own]


def _moved(x: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Images `[seeds, batch, ...]`, each seed's moved by the numbers of its own generator."""
    return torch.stack([crop_and_flip(own, g) for own, g in zip(x, generators, strict=True)])
