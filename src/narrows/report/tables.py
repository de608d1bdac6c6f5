"""The table of a run: one row a method and beta that the report speaks of, mean and spread."""

from __future__ import annotations

from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from narrows.report.rows import Run

__all__ = ["ResultTable", "console_table", "full_table", "result_table"]


class ResultTable(NamedTuple):
    """Column titles and rows of text."""

    columns: list[str]
    rows: list[list[str]]


def result_table(run: Run) -> ResultTable:
    """The table of the terminal: the chosen and the knee beta of each method."""
    wanted = [
        (method, beta, choice)
        for method in run.summary
        for choice, beta in run.choices(method).items()
    ]
    return _table(run, wanted, _radii(run)[len(_radii(run)) // 2 :][:1])


def full_table(run: Run) -> ResultTable:
    """The table of the page: every method and beta, every eps."""
    wanted = []
    for method, summary in run.summary.items():
        names = {beta: choice for choice, beta in reversed(run.choices(method).items())}
        wanted += [(method, row["beta"], names.get(row["beta"], "")) for row in summary["rows"]]
    return _table(run, wanted, _radii(run))


def console_table(run: Run, console: Console) -> None:
    """Print `result_table`."""
    columns, rows = result_table(run)
    seeds = run.config["seeds"]
    table = Table(title=f"{run.config['data']}: mean ± standard deviation over {seeds} seeds")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index in (0, 2) else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _table(run: Run, wanted: list[tuple[str, float, str]], radii: list[float]) -> ResultTable:
    columns = ["method", "beta", "beta chosen by", "I(X;Z) bits", "I(Z;Y) bits", "clean %"]
    rows = []
    for method, beta, choice in wanted:
        row = run.row_of(method, beta)
        rate, relevance = row["information_bits"]["test"]
        cells = [method, f"{beta:g}", choice.replace("chosen on validation data", "validation")]
        cells += [_spread(rate, 1, 2), _spread(relevance, 1, 2)]
        cells.append(_spread(row["accuracy"]["test"], 100, 1))
        found = {(one["attack"], one["eps"]): one for one in row["attacks"]}
        if found:
            for eps in radii:
                for name in ("fgsm", "pgd"):
                    cells.append(_spread(found[name, eps]["accuracy"], 100, 1))
            cells.append(_spread(found["deepfool", None]["median_distance"], 1, 2))
        rows.append(cells)
    if rows and len(rows[0]) > len(columns):
        columns += [f"{name.upper()} {eps:g} %" for eps in radii for name in ("fgsm", "pgd")]
        columns.append("DeepFool median L2")
    return ResultTable(columns, rows)


def _radii(run: Run) -> list[float]:
    return list(run.config["evaluate"]["eps"])


def _spread(spread: dict[str, Any] | None, factor: float, digits: int) -> str:
    if spread is None:
        return "-"
    text = f"{spread['mean'] * factor:.{digits}f}"
    return text if spread["std"] is None else f"{text} ± {spread['std'] * factor:.{digits}f}"
