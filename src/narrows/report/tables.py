"""The table of a run: one row per method and reported beta, mean and spread."""

from __future__ import annotations

from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from narrows.report.rows import CHOSEN, KNEE, attacked, choices, summary_row, trained_methods
from narrows.runs import Run
from narrows.runs.summary import BetaSummary, Spread

__all__ = [
    "ResultTable",
    "chosen_table",
    "console_table",
    "full_table",
    "markdown",
    "result_table",
]


_SHORT = {CHOSEN: "val.", KNEE: "knee"}
_LONG = {CHOSEN: "validation", KNEE: "knee"}


class ResultTable(NamedTuple):
    """Column titles and rows of text."""

    columns: list[str]
    rows: list[list[str]]

    def words(self) -> list[bool]:
        """Whether each column holds words: it is aligned to the left, numbers to the right."""
        return [
            any(cell[:1].isalpha() for cell in column) for column in zip(*self.rows, strict=True)
        ] or [False] * len(self.columns)


def result_table(run: Run) -> ResultTable:
    """The table of the terminal: the chosen and the knee beta of each method, one eps."""
    columns = ["method", "beta", "by", "I(X;Z)", "I(Z;Y)", "clean"]
    columns += ["FGSM", "PGD", "L2"] if attacked(run) else []
    radii = [run.config.evaluate.middle_eps]
    rows = []
    for method in trained_methods(run):
        for beta, names in _labels(run, method).items():
            label = _SHORT[names[0]] if len(names) == 1 else "both"
            summary = summary_row(run, method, beta)
            rates = [text.split()[0] for text in _information(summary, digits=1)]
            accuracies = _accuracies(summary, radii, attacked(run))
            numbers = [text.replace(" ", "") for text in accuracies]
            rows.append([method, f"{beta:g}", label, *rates, *numbers])
    return ResultTable(columns, rows)


def full_table(run: Run) -> ResultTable:
    """Every method and beta, every eps."""
    return _table(run, run.config.evaluate.eps, attacked(run), every_beta=True)


def chosen_table(run: Run, radii: list[float], images: bool) -> ResultTable:
    """The chosen and the knee beta of each method.

    Args:
        run: a complete one.
        radii: eps of FGSM and PGD.
        images: whether there are columns for attacks.
    """
    return _table(run, radii, images, every_beta=False)


def _table(run: Run, radii: list[float], images: bool, every_beta: bool) -> ResultTable:
    columns = ["method", "beta", "chosen by", "I(X;Z) bits", "I(Z;Y) bits", "clean %"]
    if images:
        columns += [f"{name.upper()} {eps:g} %" for eps in radii for name in ("fgsm", "pgd")]
        columns.append("DeepFool median L2")
    rows = []
    for method in trained_methods(run):
        labels = _labels(run, method)
        for summary in run.summary[method].rows:
            if not every_beta and summary.beta not in labels:
                continue
            label = ", ".join(_LONG[name] for name in labels.get(summary.beta, []))
            numbers = [*_information(summary, digits=2), *_accuracies(summary, radii, images)]
            rows.append([method, f"{summary.beta:g}", label, *numbers])
    return ResultTable(columns, rows)


def _labels(run: Run, method: str) -> dict[float, list[str]]:
    """What chose each beta that something chose, smallest beta first."""
    labels: dict[float, list[str]] = {}
    for choice, beta in choices(run, method).items():
        labels.setdefault(beta, []).append(choice)
    return dict(sorted(labels.items()))


def _information(summary: BetaSummary, digits: int) -> list[str]:
    points = summary.information_bits.get("test", (None, None))
    return [_spread(point, 1, digits) for point in points]


def _accuracies(summary: BetaSummary, radii: list[float], images: bool) -> list[str]:
    """Clean and attacked accuracy in percent, and the median size of DeepFool's perturbation."""
    cells = [_spread(summary.accuracy["test"], 100, 1)]
    if images:
        for eps in radii:
            for name in ("fgsm", "pgd"):
                result = summary.attack(name, eps)
                cells.append(_spread(result and result.accuracy, 100, 1))
        smallest = summary.attack("deepfool", None)
        cells.append(_spread(smallest and smallest.median_distance, 1, 2))
    return cells


def _spread(spread: Spread | None, factor: float, digits: int) -> str:
    if spread is None:
        return "-"
    text = f"{spread.mean * factor:.{digits}f}"
    return text if spread.std is None else f"{text} ± {spread.std * factor:.{digits}f}"


def console_table(run: Run, console: Console) -> None:
    """Print `result_table`."""
    columns, rows = result_table(run)
    caption = "I in bits, accuracy in %"
    if attacked(run):
        eps = run.config.evaluate.middle_eps
        caption += f", FGSM and PGD at eps = {eps:g}, L2: DeepFool's median"
    title = f"{run.config.data_name}, test data, mean ± std over seeds ({run.config.seeds})"
    table = Table(
        title=Text(title),
        caption=Text(caption),
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    for index, column in enumerate(columns):
        justify = "left" if index in (0, 2) else "right"
        table.add_column(Text(column), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def markdown(table: ResultTable) -> str:
    """The table in Markdown, for documents."""
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
