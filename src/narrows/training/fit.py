"""The training loop, from the start or from a checkpoint to the end, resumable bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from narrows.checks import check_path
from narrows.data import Dataset
from narrows.errors import DivergedError
from narrows.models.noise import forked_rng
from narrows.training.config import TrainConfig
from narrows.training.members import Members
from narrows.training.processes import Processes
from narrows.training.trainer import Trainer

__all__ = ["fit"]


def fit(
    members: Members,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    *,
    checkpoint: str | Path | None = None,
    identity: str = "",
    on_epoch: Callable[[Trainer], None] = lambda trainer: None,
    on_step: Callable[[], None] = lambda: None,
    processes: Processes | None = None,
) -> Trainer:
    """Train to the end, continuing from `checkpoint` where that file exists.

    Args:
        members: what to train.
        train: the training set, on the members' device.
        validation: the set on which the best epoch is chosen.
        config: the training settings.
        checkpoint: file of the state; `None` for no file.
        identity: of the run, which a checkpoint stores and must match.
        on_epoch: called after each epoch, for progress and logs, and once after a checkpoint is
            loaded, so that a log that was interrupted after the checkpoint becomes complete.
        on_step: called after each step.
        processes: which train these members together; all read the checkpoint, the first writes it.

    Returns:
        The finished trainer; `trainer.best_members()` holds the chosen weights.

    Raises:
        CheckpointError: if the checkpoint is damaged or belongs to another run.
        DivergedError: if no member is left whose loss is finite. The checkpoint and the log are
            written first, so that continuing ends in the same error without training.
        StoreError: if the checkpoint cannot be written.
    """
    checkpoint = None if checkpoint is None else check_path(checkpoint, "checkpoint")
    processes = processes or Processes()
    trainer = Trainer(members, train, validation, config, processes=processes)
    with forked_rng(members.device, members.seeds[0]):
        if checkpoint and checkpoint.exists():
            trainer.resume(checkpoint, identity)
            on_epoch(trainer)
        saved = time.monotonic()
        while not trainer.finished:
            with suppress(DivergedError):  # of all members; raised below, after saving
                trainer.run_epoch(on_step)
            due = time.monotonic() - saved >= config.checkpoint_seconds
            if checkpoint and processes.leads and (due or trainer.finished):
                trainer.save(checkpoint, identity)
                saved = time.monotonic()
            on_epoch(trainer)
    trainer.check_any_left()
    return trainer
