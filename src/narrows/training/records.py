"""Per-epoch training records, and where a member diverged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["CheckpointHeader", "Divergence", "EpochRecord"]


class Divergence(NamedTuple):
    """Where the loss or the weights of a member were first found to be infinite or NaN."""

    epoch: int
    batch: int
    loss: str
    where: str = "loss"


@dataclass(frozen=True)
class EpochRecord:
    """The results of one epoch, a number per member each; None where it is not finite."""

    epoch: int
    losses: Mapping[str, list[float | None]]
    validation_accuracy: list[float | None]
    best_epoch: list[int]
    seconds: float


@dataclass(frozen=True)
class CheckpointHeader:
    """The header of a checkpoint.

    Attributes:
        format: of the file.
        identity: of the run that it belongs to.
        epoch: number of finished epochs.
        steps: number of finished steps.
        history: one record per epoch.
        diverged: members that have diverged, and where.
    """

    format: int
    identity: str
    epoch: int
    steps: int
    history: list[EpochRecord]
    diverged: list[tuple[int, Divergence]] = field(default_factory=list)

    def fits(self, members: int, epochs: int) -> bool:
        """Whether the header is possible for this number of members and of epochs."""
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
