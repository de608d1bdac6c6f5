"""Generated tables: what they show, and that the committed pages are those of the records."""

import importlib.util
from pathlib import Path

import pytest

from narrows.reproduction.markdown import coverage_table, table_markdown
from narrows.reproduction.records import KIND, AuditOutcome, Cell, ReproductionRecord, RunUsed
from narrows.reproduction.tables import load_table
from narrows.runs.files import write_json

ROOT = Path(__file__).parents[2]


def script():
    spec = importlib.util.spec_from_file_location("t", ROOT / "scripts/reproduction_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_those_of_the_stored_records():
    tables = script()
    for page in tables.PAGES:
        assert tables.renewed(page.read_text()) == page.read_text(), (
            f"{page.name} is not up to date: run python scripts/reproduction_tables.py"
        )


def stored(folder, **changes):
    cells = [
        Cell("baseline", "test error", 1.38, [1.4, 1.42], 10_000, tolerance=0.1),
        Cell("dropout", "test error", 1.34, [2.0, 2.1], 10_000, beta=1.0, tolerance=0.1),
        Cell("label smoothing", "test error", 1.4, note="every model has diverged"),
    ]
    audits = [AuditOutcome("VIB (beta = 1e-3)", 0.1, 13.0, 3.5, 1.7, 7.0, "overestimated", 200)]
    runs = {"main": RunUsed("mnist-x", {}, {"torch": "2.1", "threads": 1, "git_commit": "abc"})}
    record = ReproductionRecord("vib-table1", "short", cells, audits, runs, finished=True)
    write_json(folder / "vib-table1-short.json", KIND, record)


def test_a_table_shows_both_numbers_their_state_and_the_audit(tmp_path):
    stored(tmp_path)
    text = table_markdown(load_table("vib-table1"), tmp_path)
    for line in (
        "Ours: a short version, 2 seeds, CPU, 1 thread(s), PyTorch 2.1, commit abc.",
        "    narrows reproduce vib-table1 --scale short",
        "| baseline | paper | 1.38 |",
        "| baseline | ours | **1.41 ± 0.01** |",
        "| dropout | ours, beta = 1 | 2.05 ± 0.07 ≠ |",
        "| label smoothing | ours | - ≠ |",
        "| confidence penalty | ours | not run |",
        "| VIB (beta = 1e-3) | 0.1 | 13.0 | 3.5 (1.7 to 7.0) | overestimated |",
    ):
        assert line in text.splitlines()
    assert "-: every model has diverged." in text


def test_what_was_not_run_says_so(tmp_path):
    text = table_markdown(load_table("vib-table1"), tmp_path)
    assert text.endswith("Not run yet. `narrows reproduce vib-table1`")


def test_coverage_counts_each_state(tmp_path):
    stored(tmp_path)
    lines = coverage_table(tmp_path).splitlines()
    vib = next(line for line in lines if "Alemi" in line)
    total = sum(load_table(name).printed for name in ("vib-table1", "vib-figure2", "vib-figure3"))
    assert vib.split(" | ")[1:] == [str(total), "1", "0", "2", f"{total - 3} |"]


def test_a_smoke_test_is_no_result(tmp_path):
    stored(tmp_path)
    (tmp_path / "vib-table1-short.json").rename(tmp_path / "vib-table1-smoke.json")
    assert "Not run yet" in table_markdown(load_table("vib-table1"), tmp_path)


@pytest.mark.parametrize("name", ["coverage", "vib-table1"])
def test_only_generated_parts_are_renewed(name):
    tables = script()
    text = f"before\n<!-- generated: {name} -->\nold\n<!-- end -->\nafter\n"
    new = tables.renewed(text)
    assert new.startswith(f"before\n<!-- generated: {name} -->\n")
    assert new.endswith("<!-- end -->\nafter\n")
    assert "\nold\n" not in new
    assert tables.renewed(new) == new
