"""What a training run says of itself: one record an epoch, and where a member was lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["CheckpointHeader", "Divergence", "EpochRecord"]


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


@dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint says beside its tensors.

    Attributes:
        format: of the file.
        identity: which run it belongs to.
        epoch: epochs that are over.
        steps: steps that are over.
        history: one record an epoch.
        diverged: which members have failed, and where.
    """

    format: int
    identity: str
    epoch: int
    steps: int
    history: list[EpochRecord]
    diverged: list[tuple[int, Divergence]] = field(default_factory=list)

    def fits(self, members: int, epochs: int) -> bool:
        """Whether the numbers can be those of so many members after at most so many epochs."""
        counts = [
            len(values)
            for record in self.history
            for values in (
                *record.losses.values(),
                record.validation_accuracy,
                record.best_epoch,
            )
        ]
        return (
            0 <= self.epoch <= epochs
            and self.steps >= 0
            and len(self.history) == self.epoch
            and set(counts) <= {members}
            and all(0 <= member < members for member, _ in self.diverged)
        )
