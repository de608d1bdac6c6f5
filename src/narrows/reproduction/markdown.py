"""Tables for README and docs, from the stored records: nothing in them is typed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from narrows.reproduction.overview import best_record, counts
from narrows.reproduction.records import Cell, Comparison, ReproductionRecord, compared
from narrows.reproduction.tables import PaperTable, Scale, load_table, table_names

__all__ = ["coverage_table", "table_markdown", "tables_markdown"]

_SCALES: dict[Scale, str] = {
    "smoke": "smoke test",
    "short": "a short version",
    "paper": "the paper's length",
}
_MARKS = {"reproduced": "", "explained": " †", "differs": " ≠", "measured": "", "not run": ""}


def coverage_table(folder: Path) -> str:
    """How many numbers of each paper are reproduced, differ or were not run."""
    head = ["paper", "numbers", "reproduced", "differ, reason shown", "differ", "not run"]
    lines = [_line(head), _line(["---"] * len(head))]
    totals = counts(folder)
    for paper, states in totals.items():
        lines.append(_line([paper, states.total(), *_by_state(states)]))
    whole = sum(totals.values(), start=type(next(iter(totals.values())))())
    lines.append(_line(["**all**", whole.total(), *_by_state(whole)]))
    return "\n".join(lines)


def _by_state(states: Any) -> list[int]:
    return [states[state] for state in ("reproduced", "explained", "differs", "not run")]


def tables_markdown(folder: Path) -> str:
    """Every table and figure, in the order of the papers."""
    return "\n\n".join(table_markdown(load_table(name), folder) for name in table_names())


def table_markdown(table: PaperTable, folder: Path) -> str:
    """One table: the paper's numbers and ours, spread, scale, hardware, command and reasons."""
    record = best_record(table, folder)
    parts = [f"### {table.place}: {table.title}", f"{table.paper}. {table.notes}".strip()]
    if record is None:
        parts.append(f"Not run yet. `narrows reproduce {table.name}`")
        return "\n\n".join(parts)
    parts.append(_origin(table, record))
    comparisons = list(compared(table, record))
    if comparisons:
        parts.append("\n".join(_rows(table, comparisons)))
    parts += _reasons(comparisons)
    if record.audits:
        parts.append("\n".join(_audits(record)))
    return "\n\n".join(parts)


def _origin(table: PaperTable, record: ReproductionRecord) -> str:
    seeds = f"{record.seeds} seed{'' if record.seeds == 1 else 's'}" if record.seeds else ""
    facts = [_SCALES[record.scale], seeds, *_hardware(record)]
    if not record.finished:
        facts.append("unfinished")
    command = f"narrows reproduce {table.name} --scale {record.scale}"
    return f"Ours: {', '.join(fact for fact in facts if fact)}.\n\n    {command}"


def _hardware(record: ReproductionRecord) -> list[str]:
    for used in record.runs.values():
        environment = used.environment
        commit = str(environment.get("git_commit") or "")[:9]
        accelerator = environment.get("accelerator")
        hardware = accelerator or f"CPU, {environment.get('threads')} thread(s)"
        torch = f"PyTorch {environment.get('torch')}"
        return [str(hardware), torch, f"commit {commit}" if commit else ""]
    return []


def _rows(table: PaperTable, comparisons: list[Comparison]) -> Iterator[str]:
    yield _line(["", "", *table.column_names])
    yield _line(["---"] * (2 + len(table.columns)))
    by_row: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_row.setdefault(comparison.cell.row, []).append(comparison)
    for row, cells in by_row.items():
        if any(each.cell.paper is not None for each in cells):
            yield _line([row, "paper", *(_paper(each.cell) for each in cells)])
        yield _line([row, f"ours{_beta(cells)}", *(_ours(each) for each in cells)])


def _beta(comparisons: list[Comparison]) -> str:
    """The beta of a row that does not name it."""
    betas = {each.cell.beta for each in comparisons if each.cell.beta is not None}
    named = "beta" in comparisons[0].cell.row
    return f", beta = {betas.pop():g}" if len(betas) == 1 and not named else ""


def _paper(cell: Cell) -> str:
    if cell.paper is None:
        return "-"
    spread = f" ± {cell.paper_spread:g}" if cell.paper_spread else ""
    return f"{cell.paper:g}{spread}"


def _ours(comparison: Comparison) -> str:
    cell = comparison.cell
    if not cell.values:
        return f"-{_MARKS[comparison.state]}" if cell.note else "not run"
    digits = 1 if abs(cell.mean) >= 10 or cell.tolerance >= 1 else 2
    text = f"{cell.mean:.{digits}f}"
    if cell.spread is not None:
        text += f" ± {cell.spread:.{digits}f}"
    if comparison.state == "reproduced":
        text = f"**{text}**"
    return text + _MARKS[comparison.state]


def _reasons(comparisons: list[Comparison]) -> list[str]:
    states = {each.state for each in comparisons}
    sentences = []
    if "reproduced" in states:
        sentences.append("**Bold**: reproduced.")
    if "differs" in states:
        sentences.append("≠: differs, and no experiment here shows why.")
    reasons = dict.fromkeys(_key(each) for each in comparisons if each.reason)
    sentences += [f"†: differs. {because} ({shown})" for because, shown in reasons]
    notes = dict.fromkeys(each.cell.note for each in comparisons if each.cell.note)
    sentences += [f"-: {note}." for note in notes]
    return [" ".join(sentences)] if sentences else []


def _key(comparison: Comparison) -> tuple[str, str]:
    assert comparison.reason is not None
    return comparison.reason.because, comparison.reason.experiment


def _audits(record: ReproductionRecord) -> Iterator[str]:
    yield "What the audit says of the robustness, in percent of the images:\n"
    yield _line(["", "eps", "PGD leaves", "nothing fooled", "verdict"])
    yield _line(["---"] * 5)
    for audit in record.audits:
        interval = f"{audit.left:.1f} ({audit.low:.1f} to {audit.high:.1f})"
        yield _line([audit.row, f"{audit.eps:g}", f"{audit.claimed:.1f}", interval, audit.outcome])


def _line(cells: list[Any]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
