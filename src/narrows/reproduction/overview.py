"""Which tables and figures there are, what each needs, and how far it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from narrows.errors import StoreError
from narrows.reproduction.records import ReproductionRecord, State, compared, read_record
from narrows.reproduction.tables import SCALES, PaperTable, Scale, load_table, table_names

__all__ = ["Overview", "best_record", "counts", "overview", "read_finished"]


@dataclass(frozen=True)
class Overview:
    """One table or figure in the list.

    Attributes:
        table: what it is.
        states: what was done, by scale, in words; empty where nothing was.
    """

    table: PaperTable
    states: Mapping[Scale, str]


def overview(folder: Path) -> list[Overview]:
    """Every table and figure, with its state in a folder of records."""
    tables = [load_table(name) for name in table_names()]
    return [Overview(table, _states(table, folder)) for table in tables]


def best_record(table: PaperTable, folder: Path) -> ReproductionRecord | None:
    """The record of the largest scale at which something was measured, smoke left out.

    Raises:
        StoreError: for a file that is no record.
    """
    for scale in reversed(SCALES):
        record = None if scale == "smoke" else read_record(folder, table.name, scale)
        if record is not None and (record.measured or record.finished):
            return record
    return None


def read_finished(folder: Path, name: str, scale: Scale) -> bool:
    """Whether a table is finished at a scale.

    Args:
        folder: of the records.
        name: of the table.
        scale: of the reproduction.

    Raises:
        StoreError: for a file that is no record.
    """
    record = read_record(folder, name, scale)
    return record is not None and record.finished


def counts(folder: Path) -> dict[str, Counter[State]]:
    """By paper: how many of the numbers that it printed are in which state.

    Raises:
        StoreError: for a file that is no record.
    """
    totals: dict[str, Counter[State]] = {}
    for name in table_names():
        table = load_table(name)
        states = totals.setdefault(table.paper, Counter())
        for comparison in compared(table, best_record(table, folder)):
            if comparison.cell.paper is not None:
                states[comparison.state] += 1
    return totals


def _states(table: PaperTable, folder: Path) -> dict[Scale, str]:
    states: dict[Scale, str] = {}
    for scale in SCALES:
        try:
            record = read_record(folder, table.name, scale)
        except StoreError:
            states[scale] = "record damaged"
            continue
        if record is not None:
            states[scale] = _state(table, record)
    return states


def _state(table: PaperTable, record: ReproductionRecord) -> str:
    total = len(list(table.cells))
    if not total:
        return "finished" if record.finished else "begun"
    text = f"{record.measured} of {total} cells, {record.seeds} seed{'s'[: record.seeds != 1]}"
    return text if record.finished else f"{text}, unfinished"
