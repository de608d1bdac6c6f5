"""What a training run says of itself: one record an epoch, and where a member was lost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

__all__ = ["Divergence", "EpochRecord", "finite"]


class Divergence(NamedTuple):
    """Where the loss of a member, or else its weights, were first seen to be no longer finite."""

    epoch: int
    batch: int
    loss: str
    where: str = "loss"


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to: one number a member under each name; None where it is not finite."""

    epoch: int
    losses: Mapping[str, list[float | None]]
    validation_accuracy: list[float | None]
    best_epoch: list[int]
    seconds: float


def finite(values: Tensor) -> list[float | None]:
    """For JSON, which has no infinity and no NaN: they become null."""
    return [value if math.isfinite(value) else None for value in values.tolist()]
