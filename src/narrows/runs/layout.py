"""Which file of a run's folder holds what.

<out>/<data>-<hash>/
    config.json              every setting of the run
    data.json                sizes, classes and hashes of the data, and how they were read
    environment.json         versions, hardware, commit
    <method>/                one training task
        checkpoint.safetensors   to continue from, deleted when the training is done
        history.jsonl            one line for each epoch
        models.safetensors       the chosen weights of every model
        records/<model>.json     what was measured on each model
        failed.json              which models have diverged
        pictures.safetensors     projections and attacked images for the report
        done.json                written last: the method is complete
    summary.json             means, chosen betas and knees
    done.json                written last: the run is complete
    report.html
    reevaluation/  figures/  audits/    what other commands add
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from narrows.runs.records import LostMember, Member

__all__ = [
    "CONFIG",
    "DATA",
    "DONE",
    "RECORD",
    "SUMMARY",
    "MethodDone",
    "MethodFiles",
    "RunDone",
    "StoredMember",
    "WeightsHeader",
]

CONFIG, DATA, SUMMARY, DONE = "config.json", "data.json", "summary.json", "done.json"
RECORD = "record of a model"


@dataclass(frozen=True)
class MethodFiles:
    """Paths of the files of one method."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """State of an unfinished training."""
        return self.folder / "checkpoint.safetensors"

    @property
    def history(self) -> Path:
        """One line for each epoch."""
        return self.folder / "history.jsonl"

    @property
    def models(self) -> Path:
        """Weights of all models."""
        return self.folder / "models.safetensors"

    @property
    def pictures(self) -> Path:
        """Tensors that the report draws."""
        return self.folder / "pictures.safetensors"

    @property
    def failed(self) -> Path:
        """Models that have diverged."""
        return self.folder / "failed.json"

    @property
    def done(self) -> Path:
        """Marks the method as complete."""
        return self.folder / DONE

    def record(self, member: Member) -> Path:
        """The record of one model."""
        return self.folder / "records" / f"{member.key}.json"


@dataclass(frozen=True)
class StoredMember:
    """A model in the file of weights."""

    beta: float
    seed: int
    best_epoch: int = 0


@dataclass(frozen=True)
class WeightsHeader:
    """Header of `models.safetensors`: its members in the order of the first axis of its tensors.

    Attributes:
        members: the models that are stored.
        shape: of one input.
        classes: number of classes.
        lost: the models that are not, because they have diverged.
        epochs: that were trained, likewise `steps`.
    """

    members: list[StoredMember]
    shape: tuple[int, ...]
    classes: int
    lost: list[LostMember] = field(default_factory=list)
    epochs: int = 0
    steps: int = 0


@dataclass(frozen=True)
class MethodDone:
    """Content of a method's `done.json`."""

    epochs: int
    steps: int


@dataclass(frozen=True)
class RunDone:
    """Content of a run's `done.json`."""

    methods: list[str]
    classes: int
