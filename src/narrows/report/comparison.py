"""The page that puts several runs side by side: sentences, one table, curves over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from narrows.errors import InputError
from narrows.report import rows as run_rows
from narrows.report.conclusions import spread_in_percent
from narrows.report.overlays import curves_of_runs, robustness_of_runs, sweeps_of_runs
from narrows.report.page import Section, write_page
from narrows.report.rows import CHOSEN, choices, summary_row, trained_methods
from narrows.report.tables import ResultTable, chosen_table
from narrows.runs import Run
from narrows.runs.summary import Spread
from narrows.stored.checking import settings_of

__all__ = ["compared_runs", "comparison_sections", "comparison_table", "write_comparison"]

_MOST = 16  # colours that can be told apart
_LISTED = 4  # settings that a sentence names
_OF_METHODS = ("grids", "networks", "options")  # tables with a key for each method
Row = dict[str, Any]


def compared_runs(runs: Sequence[Run]) -> dict[str, Run]:
    """Complete runs by the names that the page calls them.

    Args:
        runs: at least two, in the order of the page.

    Raises:
        StoreError: if one is not complete.
        InputError: for fewer than 2 or more than 16 runs, or the same run twice.
    """
    if not 2 <= len(runs) <= _MOST:
        raise InputError(f"expected 2 to {_MOST} runs to compare, got {len(runs)}")
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise InputError("expected different runs to compare, got the same folder twice")
    names = [run.path.resolve().name for run in runs]
    repeated = {name for name in names if names.count(name) > 1}
    return {
        f"{run.path.resolve().parent.name}/{name}" if name in repeated else name: (
            run.require_complete()
        )
        for run, name in zip(runs, names, strict=True)
    }


def write_comparison(path: Path, runs: Mapping[str, Run]) -> Path:
    """Write the page of a comparison and return its path.

    Args:
        path: of the HTML file.
        runs: from `compared_runs`.

    Raises:
        StoreError: if it cannot be written.
    """
    lead = f"{', '.join(runs)}. ± is one standard deviation over seeds, and so are bands and bars."
    return write_page(path, f"Comparison of {len(runs)} runs", lead, comparison_sections(runs))


def comparison_sections(runs: Mapping[str, Run]) -> list[Section]:
    """The sentences, the table and the charts that there are numbers for."""
    radii = _common_radii(runs)
    sections = [
        Section("", _sentences(runs, radii), verdict=True),
        Section("The chosen models on test data", table=comparison_table(runs)),
    ]
    if curves := _curves(runs):
        text = (
            "Test data, means over seeds. Runs whose codes have different noise can be compared "
            "in their shape, not in their I(X;Z)."
        )
        sections.append(Section("IB curves", [text], curves_of_runs(curves)))
    if radii:
        text = "FGSM (dashed) and PGD (solid) on test images, at the chosen beta of each run."
        chart = robustness_of_runs(_robustness(runs))
        sections.append(Section("Accuracy against eps", [text], chart))
    if swept := _swept(runs, radii):
        chart = sweeps_of_runs(swept, [0.0, *radii])
        sections.append(Section("Accuracy against beta", ["Test data."], chart))
    return [*sections, Section("Settings that differ", table=_settings(runs), wordy=True)]


def comparison_table(runs: Mapping[str, Run]) -> ResultTable:
    """The chosen and the knee beta of every method of every run, at the same eps."""
    radii = _common_radii(runs)
    middle = radii[len(radii) // 2 : len(radii) // 2 + 1]
    tables = {name: chosen_table(run, middle, images=bool(radii)) for name, run in runs.items()}
    columns = ["run", *next(iter(tables.values())).columns]
    return ResultTable(
        columns, [[name, *row] for name, table in tables.items() for row in table.rows]
    )


def _common_radii(runs: Mapping[str, Run]) -> list[float]:
    """The radii at which every run was attacked, rising; none where one was not attacked."""
    if not all(map(run_rows.attacked, runs.values())):
        return []
    sets = [set(run.config.evaluate.eps) for run in runs.values()]
    return sorted(set.intersection(*sets))


def _sentences(runs: Mapping[str, Run], radii: Sequence[float]) -> list[str]:
    """What differs, what came out, and what must not be concluded."""
    sentences = [_differences(runs)]
    if len({run.config.data_sha256 for run in runs.values()}) > 1:
        sentences.append(
            "The data differ as well, so a difference in accuracy may be due to them alone."
        )
    sentences += _best(runs, "Accuracy on test data", lambda row: row.accuracy["test"])
    if radii:
        eps = radii[len(radii) // 2]
        sentences += _best(
            runs,
            f"Accuracy under PGD at eps = {eps:g} (Linf)",
            lambda row: (result := row.attack("pgd", eps)) and result.accuracy,
        )
        sentences.append(
            "Accuracy under PGD is an upper bound of robust accuracy. Only an audit (narrows "
            "audit) can tell whether one of these models is more robust than another."
        )
    return sentences


def _differences(runs: Mapping[str, Run]) -> str:
    names = [row[0] for row in _settings(runs).rows]
    if not names:
        return "All settings of these runs are the same."
    rest = len(names) - _LISTED
    more = f" and {rest} more, which are listed below" if rest > 0 else ""
    return f"The runs differ in {', '.join(names[:_LISTED])}{more}."


def _best(runs: Mapping[str, Run], title: str, read: Any) -> list[str]:
    """For each method of several runs, the highest value at the chosen beta and the lowest."""
    sentences = []
    for method in dict.fromkeys(name for run in runs.values() for name in trained_methods(run)):
        values: dict[str, Spread] = {}
        for name, run in runs.items():
            if method in trained_methods(run):
                value = read(summary_row(run, method, choices(run, method)[CHOSEN]))
                values |= {} if value is None else {name: value}
        if len(values) > 1:
            sentences.append(f"{title}, {method}: {_extremes(values)}")
    return sentences


def _extremes(values: Mapping[str, Spread]) -> str:
    ordered = sorted(values, key=lambda name: values[name].mean)
    low, high = ordered[0], ordered[-1]
    difference = values[high].mean - values[low].mean
    spread = sum(values[name].std or 0.0 for name in (low, high))
    verdict = "more than" if difference > spread else "within"
    return (
        f"highest in {high} ({spread_in_percent(values[high])}), lowest in {low} "
        f"({spread_in_percent(values[low])}). The difference of {100 * difference:.1f} points is "
        f"{verdict} both standard deviations together."
    )


def _settings(runs: Mapping[str, Run]) -> ResultTable:
    """One row for each setting that is not the same in all runs."""
    settings = [settings_of(run) for run in runs.values()]
    names = dict.fromkeys(name for described in settings for name in described)
    everywhere = set.intersection(*({*run.config.methods} for run in runs.values()))
    rows = [
        [name, *(_shown(part.get(name)) for part in settings)]
        for name in names
        if _about(name) is None or _about(name) in everywhere
    ]
    return ResultTable(["setting", *runs], [row for row in rows if len({*row[1:]}) > 1])


def _about(setting: str) -> str | None:
    """The method whose setting it is, as vib of networks.vib.name; None for one of all methods."""
    table, _, rest = setting.partition(".")
    return rest.partition(".")[0] if table in _OF_METHODS else None


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return "-" if value is None or value == "" else f"{value}"


def _curves(runs: Mapping[str, Run]) -> list[Row]:
    rows = []
    for name, run in runs.items():
        for method in trained_methods(run):
            for summary in run.summary[method].rows:
                if "test" not in summary.information_bits:
                    continue
                rate, relevance = summary.information_bits["test"]
                series = {"run": name, "method": method, "beta": summary.beta}
                low, high = _ends(rate)
                across = {"rate": rate.mean, "rate_low": low, "rate_high": high}
                low, high = _ends(relevance)
                along = {"relevance": relevance.mean, "low": low, "high": high}
                rows.append(series | across | along)
    return rows


def _ends(spread: Spread) -> tuple[float, float]:
    std = spread.std or 0.0
    return max(0.0, spread.mean - std), spread.mean + std


def _robustness(runs: Mapping[str, Run]) -> list[Row]:
    return [
        {"run": name, **row}
        for name, run in runs.items()
        for row in run_rows.accuracy_against_eps(run)
        if CHOSEN in row["choices"]
    ]


def _swept(runs: Mapping[str, Run], radii: Sequence[float]) -> list[Row]:
    return [
        {"run": name, **row, "eps": row["eps"] or 0.0}
        for name, run in runs.items()
        for row in run_rows.accuracy_against_beta(run)
        if row["attack"] != "fgsm" and row["beta"] > 0 and row["eps"] in (None, *radii)
    ]
