"""The table of a run: one row a method and beta that the report speaks of, mean and spread."""

from __future__ import annotations

from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from narrows.report.rows import CHOSEN, KNEE, Run

__all__ = ["ResultTable", "console_table", "full_table", "markdown", "result_table"]


_SHORT = {CHOSEN: "val.", KNEE: "knee"}
_LONG = {CHOSEN: "validation", KNEE: "knee"}


class ResultTable(NamedTuple):
    """Column titles and rows of text."""

    columns: list[str]
    rows: list[list[str]]


def result_table(run: Run) -> ResultTable:
    """The table of the terminal: the chosen and the knee beta of each method, one eps."""
    eps = _radii(run)[len(_radii(run)) // 2]
    columns = ["method", "beta", "by", "I(X;Z)", "I(Z;Y)", "clean"]
    columns += ["FGSM", "PGD", "L2"] if run.attacked else []
    rows = []
    for method in run.summary:
        labels = _labels(run, method)
        for beta, names in labels.items():
            label = _SHORT[names[0]] if len(names) == 1 else "both"
            rows.append(_cells(run, method, beta, label, [eps], digits=1, compact=True))
    return ResultTable(columns, rows)


def full_table(run: Run) -> ResultTable:
    """The table of the page: every method and beta, every eps."""
    radii = _radii(run)
    columns = ["method", "beta", "chosen by", "I(X;Z) bits", "I(Z;Y) bits", "clean %"]
    if run.attacked:
        columns += [f"{name.upper()} {eps:g} %" for eps in radii for name in ("fgsm", "pgd")]
        columns.append("DeepFool median L2")
    rows = []
    for method, summary in run.summary.items():
        labels = _labels(run, method)
        for row in summary["rows"]:
            label = ", ".join(_LONG[name] for name in labels.get(row["beta"], []))
            rows.append(_cells(run, method, row["beta"], label, radii, digits=2))
    return ResultTable(columns, rows)


def _labels(run: Run, method: str) -> dict[float, list[str]]:
    """What chose each beta that something chose, smallest beta first."""
    labels: dict[float, list[str]] = {}
    for choice, beta in run.choices(method).items():
        labels.setdefault(beta, []).append(choice)
    return dict(sorted(labels.items()))


def console_table(run: Run, console: Console) -> None:
    """Print `result_table`."""
    columns, rows = result_table(run)
    eps = _radii(run)[len(_radii(run)) // 2]
    caption = "I in bits, accuracy in %"
    if run.attacked:
        caption += f", FGSM and PGD at eps = {eps:g}, L2: DeepFool's median"
    table = Table(
        title=f"{run.config['data']}, test data, mean ± std over seeds ({run.config['seeds']})",
        caption=caption,
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index in (0, 2) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def markdown(table: ResultTable) -> str:
    """The table in Markdown, for documents."""
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(
    run: Run,
    method: str,
    beta: float,
    choice: str,
    radii: list[float],
    digits: int,
    compact: bool = False,
) -> list[str]:
    def show(spread: dict[str, Any] | None, factor: float, digits: int) -> str:
        text = _spread(spread, factor, digits)
        return text.replace(" ", "") if compact else text

    row = run.row_of(method, beta)
    cells = [method, f"{beta:g}", choice]
    cells += [
        show({**value, "std": None} if compact and value else value, 1, digits)
        for value in row["information_bits"]["test"]
    ]
    cells.append(show(row["accuracy"]["test"], 100, 1))
    found = {(one["attack"], one["eps"]): one for one in row["attacks"]}
    if found:
        for eps in radii:
            cells += [show(found[name, eps]["accuracy"], 100, 1) for name in ("fgsm", "pgd")]
        cells.append(show(found["deepfool", None]["median_distance"], 1, 2))
    return cells


def _radii(run: Run) -> list[float]:
    return list(run.config["evaluate"]["eps"])


def _spread(spread: dict[str, Any] | None, factor: float, digits: int) -> str:
    if spread is None:
        return "-"
    text = f"{spread['mean'] * factor:.{digits}f}"
    return text if spread["std"] is None else f"{text} ± {spread['std'] * factor:.{digits}f}"
