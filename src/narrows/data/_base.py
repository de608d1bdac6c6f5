"""A data set in memory, its splits, and batches indexed from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.errors import DataError
from narrows.types import Batch

__all__ = ["Dataset", "Splits", "split_off"]


@dataclass(frozen=True)
class Dataset:
    """Inputs and labels, held in memory and indexed there.

    Args:
        name: what reports call it.
        x: `[n, ...]`, either floating point or uint8 images, which are served divided by 255.
        y: `[n]` int64 labels in `0..classes-1`.
        classes: number of classes.
        image: whether `x` are images in [0, 1], which attacks may change within that range.

    Raises:
        DataError: for NaN, images outside [0, 1], labels out of range, unequal lengths, no samples.
    """

    name: str
    x: Tensor
    y: Tensor
    classes: int
    image: bool = True

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or not len(self.x):
            raise DataError(
                f"{self.name}: expected as many labels as inputs and at least one, "
                f"got {len(self.x)} inputs and {len(self.y)} labels"
            )
        low, high = (value.item() for value in self.y.aminmax())
        if low < 0 or high >= self.classes:
            raise DataError(
                f"{self.name}: labels must lie in 0..{self.classes - 1}, got {low}..{high}"
            )
        if self.x.dtype == torch.uint8:
            return
        bad = ~torch.isfinite(self.x).flatten(1).all(1)
        if bad.any():
            first = bad.nonzero()[0].item()
            raise DataError(f"{self.name}: {int(bad.sum())} inputs hold NaN or inf, first {first}")
        if self.image and not (self.x.min() >= 0 and self.x.max() <= 1):
            raise DataError(
                f"{self.name}: images must lie in [0, 1], got {self.x.min().item():.4g} to "
                f"{self.x.max().item():.4g}; divide by 255, and normalise inside the model"
            )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch axis."""
        return tuple(self.x.shape[1:])

    def batch(self, rows: Tensor | slice) -> Batch:
        """Inputs and labels of `rows`, of any shape: `x: [*rows.shape, ...]` as float32."""
        x = self.x[rows]
        return Batch(x.to(torch.float32) / 255 if x.dtype == torch.uint8 else x, self.y[rows])

    def all(self) -> Batch:
        """The whole set as one batch."""
        return self.batch(slice(None))

    def take(self, rows: Tensor | slice) -> Dataset:
        """The subset of `rows`."""
        return Dataset(self.name, self.x[rows], self.y[rows], self.classes, self.image)

    def to(self, device: torch.device | str) -> Dataset:
        """The same set on another device."""
        return Dataset(self.name, self.x.to(device), self.y.to(device), self.classes, self.image)


class Splits(NamedTuple):
    """Three disjoint sets: to learn from, to choose on, and to report once at the end."""

    train: Dataset
    validation: Dataset
    test: Dataset


def split_off(data: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Split a set in two, stratified by class, the second part holding `share` of each class.

    Args:
        share: in (0, 1), of each class, rounded.
        seed: seed of the choice; the same seed always gives the same split.
    """
    generator = torch.Generator().manual_seed(seed)
    kept, given = [], []
    for label in range(data.classes):
        rows = (data.y == label).nonzero().squeeze(1)
        rows = rows[torch.randperm(len(rows), generator=generator)]
        count = round(share * len(rows))
        given.append(rows[:count])
        kept.append(rows[count:])
    return data.take(torch.cat(kept).sort().values), data.take(torch.cat(given).sort().values)
