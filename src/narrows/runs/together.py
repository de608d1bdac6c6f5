"""A run whose models are trained by several processes together, started by `torchrun`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from narrows.errors import EngineError
from narrows.runs.config import ResolvedConfig
from narrows.runs.engine import carry_out, follow
from narrows.runs.progress import Progress
from narrows.runs.run import Run
from narrows.training import joined_processes

__all__ = ["carry_out_together"]


def carry_out_together(config: ResolvedConfig, out: Path, progress: Progress) -> Run | None:
    """Carry a run out with the processes that `torchrun` has started, or with this one alone.

    Args:
        config: what is trained and measured.
        out: folder in which the run's own folder is made.
        progress: where progress is shown, by the first process.

    Returns:
        The run; `None` in a process that is not the first.

    Raises:
        NarrowsError: as `carry_out`, in the first process.
    """
    with joined_processes(config.device) as processes:
        if not processes.leads:
            follow(config, out, processes)
            return None
        try:
            return carry_out(config, out, progress, processes)
        finally:
            with suppress(EngineError):  # which has been raised before
                processes.announce(None)
