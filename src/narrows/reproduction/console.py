"""What `narrows reproduce` prints: the list of tables, and one table beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from narrows.reproduction.overview import Overview
from narrows.reproduction.records import Comparison, ReproductionRecord, compared
from narrows.reproduction.tables import PaperTable

__all__ = ["list_table", "result_table"]

# Hours are printed as whole numbers from here on.
_WHOLE = 10.0


def list_table(overviews: Sequence[Overview]) -> Table:
    """Each table and figure, what it needs, and its state, paper by paper."""
    table = Table("name", "shows, needs, state", box=None, padding=(0, 2, 0, 0))
    table.columns[0].no_wrap = True
    paper = ""
    for item in overviews:
        if item.table.paper != paper:
            paper = item.table.paper
            table.add_row("", f"\n[bold]{escape(paper)}[/bold]")
        shows = escape(f"{item.table.place}: {item.table.title}")
        table.add_row(item.table.name, f"{shows}\n[dim]{_needs(item.table)}[/dim]; {_state(item)}")
    return table


def _needs(table: PaperTable) -> str:
    runs = table.runs.values()
    minutes = sum(run.gpu_minutes for run in runs)
    gpu = f" or {minutes:.0f} GPU-minutes" if minutes else ""
    short, full = (_number(table.hours(scale)) for scale in ("short", "paper"))
    hours = f"{short} CPU-hours, {full} at the paper's length"
    memory = f"{max((run.memory for run in runs), default=1.0):g} GiB"
    return f"{', '.join(table.data)}; {hours}{gpu}; {memory}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.2g}"


def _state(item: Overview) -> str:
    return "; ".join(f"{scale}: {state}" for scale, state in item.states.items()) or "not run"


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
