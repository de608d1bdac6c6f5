"""A data set in memory, its splits, and batches indexed from it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.checks import as_tensor, check_count, check_dense, check_labels
from narrows.errors import ConfigError, DataError, InputError
from narrows.types import Batch

__all__ = ["Dataset", "Root", "Splits", "split_off"]

Root = str | os.PathLike[str] | None
"""A folder to look for files in; None for the usual places."""


# No generated equality: it would compare tensors, whose truth value is undefined.
@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Inputs and labels in memory.

    Args:
        name: of the data set, for reports.
        x: `[n, ...]`, floating point, or uint8 images, which batches return divided by 255; a
            tensor, a NumPy array or nested lists.
        y: `[n]` labels in `0..classes-1` of any integer type, kept as int64.
        classes: number of classes.
        image: whether `x` are images in [0, 1], which attacks may change within that range.
        class_names: what the classes are called, in their order; empty for their numbers.
        notes: what was done to the data when they were read, a sentence each.

    Raises:
        DataError: for NaN, images outside [0, 1], labels out of range, wrong types or shapes,
            unequal lengths, no samples.

    Example:
        >>> import torch
        >>> Dataset("pair", torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), classes=2)
        Dataset('pair', 2 x [1] float32, 2 classes)
    """

    name: str
    x: Tensor
    y: Tensor
    classes: int
    image: bool = True
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            inputs = check_dense(as_tensor(self.x, "inputs"), "inputs", present=True)
            labels = check_dense(as_tensor(self.y, "labels"), "labels", present=True)
            count = check_count(self.classes, "classes")
            if not isinstance(self.x, Tensor) and inputs.is_floating_point():
                inputs = inputs.to(torch.get_default_dtype())
            self._check_shapes(inputs, labels)
            labels = check_labels(labels, len(inputs), count)
            if len(self.class_names) not in (0, count):
                raise InputError(f"expected {count} class names, got {len(self.class_names)}")
        except (InputError, ConfigError) as error:
            raise DataError(f"{self.name}: {error}") from error
        for name, value in {"x": inputs, "y": labels, "classes": count}.items():
            object.__setattr__(self, name, value)
        if self.x.dtype != torch.uint8:
            self._check_values()

    def _check_shapes(self, x: Tensor, y: Tensor) -> None:
        if x.dim() < 2 or not (x.is_floating_point() or x.dtype == torch.uint8):
            hint = "" if x.dim() < 2 else "; make whole numbers floating point first"
            raise InputError(
                f"inputs must be [n, ...], floating point or uint8, got {x.dtype} {list(x.shape)}"
                f"{hint}"
            )
        if x.dtype == torch.uint8 and not self.image:
            raise InputError("uint8 inputs are images; give other inputs as floats")
        if (labels := y.shape[0] if y.dim() else 0) != len(x) or not x.numel():
            raise InputError(
                "expected as many labels as inputs and at least one, "
                f"got {len(x)} inputs and {labels} labels"
            )

    def _check_values(self) -> None:
        bad = ~torch.isfinite(self.x).flatten(1).all(1)
        if bad.any():
            first = bad.nonzero()[0].item()
            raise DataError(f"{self.name}: {int(bad.sum())} inputs hold NaN or inf, first {first}")
        low, high = (value.item() for value in self.x.aminmax())
        if self.image and not (low >= 0 and high <= 1):
            raise DataError(
                f"{self.name}: images must lie in [0, 1], got {low:.4g} to {high:.4g}; "
                "divide by 255, and normalise inside the model"
            )

    def __repr__(self) -> str:
        kind = str(self.x.dtype).removeprefix("torch.")
        return (
            f"Dataset({self.name!r}, {len(self)} x {list(self.shape)} {kind}, "
            f"{self.classes} classes)"
        )

    def __len__(self) -> int:
        return len(self.x)

    def __add__(self, other: Dataset) -> Dataset:
        """Both sets, one after the other."""
        return replace(self, x=torch.cat([self.x, other.x]), y=torch.cat([self.y, other.y]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch axis."""
        return tuple(self.x.shape[1:])

    def batch(self, rows: Tensor | slice) -> Batch:
        """Inputs and labels of `rows`, of any shape: `x: [*rows.shape, ...]` as float32."""
        x = self.x[rows]
        converted = x.to(torch.float32)
        return Batch(converted.div_(255) if x.dtype == torch.uint8 else converted, self.y[rows])

    def all(self) -> Batch:
        """The whole set as one batch."""
        return self.batch(slice(None))

    def take(self, rows: Tensor | slice) -> Dataset:
        """The subset of `rows`."""
        return replace(self, x=self.x[rows], y=self.y[rows])

    def to(self, device: torch.device | str) -> Dataset:
        """The same set on another device."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))


class Splits(NamedTuple):
    """Three disjoint sets: to train on, to choose on, and to report on."""

    train: Dataset
    validation: Dataset
    test: Dataset


def split_off(data: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Split a set in two, stratified by class, the second part holding `share` of each class.

    Args:
        data: the set to split; both parts keep its order.
        share: of each class, in (0, 1), rounded.
        seed: seed of the choice; the same seed always gives the same split.

    Raises:
        InputError: if `share` is not in (0, 1).
        DataError: if a part would be empty, because the classes are too small for `share`.
    """
    if not 0 < share < 1:
        raise InputError(f"share must lie in (0, 1), got {share}")
    generator = torch.Generator().manual_seed(seed)
    second = torch.zeros(len(data), dtype=torch.bool, device=data.y.device)
    for label in range(data.classes):
        rows = (data.y == label).nonzero().squeeze(1)
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        second[rows[order[: round(share * len(rows))]]] = True
    if second.all() or not second.any():
        raise DataError(
            f"{data.name}: {len(data)} samples in {data.classes} classes are too few to split off "
            f"{share:g} of each class; add samples, or choose another share"
        )
    return data.take(~second), data.take(second)
