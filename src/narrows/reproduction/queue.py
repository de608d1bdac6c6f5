"""Work many tables off, one after another, without being in anybody's way.

One process, one thread, the lowest priority. Whatever ends it, the same command continues: runs
have checkpoints, attacks have ledgers, and records are written row by row.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from narrows.errors import NarrowsError
from narrows.reproduction.carry import reproduce
from narrows.reproduction.overview import read_finished
from narrows.reproduction.tables import PaperTable, Scale
from narrows.runs import Progress

__all__ = ["work_off"]

_LOWEST = 19


def work_off(
    tables: Sequence[PaperTable],
    scale: Scale,
    out: Path,
    results: Path,
    progress: Progress,
    device: str,
) -> list[str]:
    """Reproduce each table that is not finished; one that cannot be done is named and left out.

    Args:
        tables: in the order in which they are reproduced.
        scale: of all of them.
        out: folder of the runs.
        results: folder of the records.
        progress: where progress is shown.
        device: on which the runs train.

    Returns:
        The names of those that were left out.
    """
    _step_back()
    left_out = []
    for table in tables:
        if read_finished(results, table.name, scale):
            progress.note(f"{table.name}: finished before, kept")
            continue
        progress.note(f"{table.name}: {table.place} of {table.paper}")
        try:
            reproduce(table, scale, out, results, progress, device=device)
        except NarrowsError as error:
            progress.note(f"{table.name} left out: {error}")
            left_out.append(table.name)
    return left_out


def _step_back() -> None:
    """Take one thread and the lowest priority, where the system has priorities."""
    torch.set_num_threads(1)
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST)
