"""What `narrows reproduce` prints: the list of tables, and one table beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from narrows.reproduction.overview import Overview
from narrows.reproduction.records import Comparison, ReproductionRecord, compared
from narrows.reproduction.tables import PaperTable

__all__ = ["list_table", "result_table"]


def list_table(overviews: Sequence[Overview]) -> Table:
    """Each table and figure, what it needs, and its state."""
    table = Table(
        "name",
        "shows",
        "data",
        "CPU-hours short / paper",
        "GPU-minutes",
        "GiB",
        "state",
        title="Tables and figures of the papers",
    )
    for item in overviews:
        entry = item.table
        runs = entry.runs.values()
        minutes = sum(run.gpu_minutes for run in runs)
        table.add_row(
            entry.name,
            f"{entry.place}: {entry.title}",
            ", ".join(entry.data),
            f"{entry.hours('short'):.2g} / {entry.hours('paper'):.2g}",
            f"{minutes:.0f}" if minutes else "-",
            f"{max((run.memory for run in runs), default=1.0):g}",
            "; ".join(f"{scale}: {state}" for scale, state in item.states.items()) or "not run",
        )
    return table


def result_table(table: PaperTable, record: ReproductionRecord) -> Table:
    """Paper's number, ours, spread, and the difference in standard errors, cell by cell."""
    shown = Table(
        "row",
        "column",
        "paper",
        "ours",
        "spread",
        "seeds",
        "standard errors apart",
        "state",
        title=f"{table.place} of {table.paper}, scale {record.scale}",
    )
    for comparison in compared(table, record):
        shown.add_row(*_cells(comparison))
    return shown


def audit_lines(record: ReproductionRecord) -> list[str]:
    """One line for each audit of a record."""
    return [
        f"Audit of {audit.row} at eps = {audit.eps:g}: PGD leaves {audit.claimed:.1f} %, "
        f"nothing fooled {audit.left:.1f} % ({audit.low:.1f} to {audit.high:.1f}); {audit.outcome}"
        for audit in record.audits
    ]


def _cells(comparison: Comparison) -> list[str]:
    cell = comparison.cell
    apart, spread = cell.errors_apart, cell.spread
    return [
        cell.row,
        cell.column,
        "-" if cell.paper is None else f"{cell.paper:g}",
        f"{cell.mean:.2f}" if cell.values else "-",
        "-" if spread is None else f"{spread:.2f}",
        str(len(cell.values)),
        "-" if apart is None or apart != apart else f"{apart:+.1f}",
        f"{comparison.state}: {cell.note}" if cell.note else comparison.state,
    ]
