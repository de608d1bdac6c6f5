"""The plan of a sweep as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from narrows.sweeps import SweepPlan
from narrows.sweeps.plan import PlanRow

__all__ = ["plan_text", "show_plan"]


def show_plan(plan: SweepPlan, console: Console) -> None:
    """Print one line for each kind of run.

    Args:
        plan: of a sweep.
        console: of rich.
    """
    table = Table(box=None)
    for name in ("runs of", "runs", "models", "trained", "training", "measuring", "attacks", "MiB"):
        table.add_column(name, justify="left" if name in ("runs of", "trained") else "right")
    for row in plan.rows:
        table.add_row(*_cells(row))
    console.print(table, soft_wrap=True)


def plan_text(plan: SweepPlan) -> str:
    """How many models and runs, and about how long they take on one process."""
    left = plan.kinds - len(plan.rows)
    unmeasured = f"; {left:,} further kinds of runs count as the mean of these" if left else ""
    return (
        f"{plan.members:,} models in {plan.runs:,} runs, about {_duration(plan.seconds)} on one "
        f"process, attacks at most{unmeasured}"
    )


def _cells(row: PlanRow) -> list[str]:
    if row.error is not None:
        return [row.label, f"{row.runs:,}", f"{row.members:,}", f"refused: {row.error}"]
    return [
        row.label,
        f"{row.runs:,}",
        f"{row.members:,}",
        "together" if row.stacked else "one by one",
        *map(_duration, (row.training_seconds, row.measuring_seconds, row.attack_seconds)),
        f"{row.memory_mib:,.1f}",
    ]


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.1f} s"
