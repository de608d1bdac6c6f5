"""Every table and figure of the papers, as a smoke test from the command line to its record."""

import json
import math

import pytest

from narrows.attacks import ATTACKS
from narrows.reproduction.overview import counts
from narrows.reproduction.records import read_record
from narrows.reproduction.tables import PaperRun, load_table, table_names
from narrows.runs import load_config
from product.recipes import PACKAGED
from product.walk import narrows, succeed

NAMES = table_names()


@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_reproduced_small(name, tmp_path):
    out = succeed("reproduce", name, "--scale", "smoke", "--quiet")
    assert f"Record: runs/reproduction/{name}-smoke.json" in out
    record = read_record(tmp_path / "runs" / "reproduction", name, "smoke")
    table = load_table(name)
    assert record is not None
    assert record.finished
    assert set(record.runs) == (set(table.runs) or {"experiment"})
    assert len(record.cells) == len(table.rows) * len(table.columns)
    for cell in record.cells:
        assert cell.values or cell.note, cell
        assert all(math.isfinite(value) for value in cell.values)
    claims = {row.name for row in table.rows if row.audit}
    assert {audit.row for audit in record.audits} <= claims
    assert bool(record.audits) == (bool(claims) and table.data == ["mnist"])


@pytest.mark.parametrize("name", NAMES)
def test_a_table_names_what_there_is(name):
    table = load_table(name)
    assert table.rows or table.figures
    for run in table.runs.values():
        for scale in ("short", "paper"):
            load_config(PACKAGED[run.recipe], {}, [*run.set, *run.scales.get(scale, [])])
    for column in table.columns:
        assert not column.attack or column.attack in {*ATTACKS, "standard", "reevaluation"}


def test_the_list_shows_every_table_and_what_was_done(tmp_path):
    succeed("reproduce", "reevaluation-figure7", "--scale", "smoke", "--quiet")
    out = succeed("reproduce", "--list")
    assert all(name in out for name in NAMES)
    assert "smoke: 30 of 30 cells, 1 seed" in out


def test_a_second_time_nothing_is_repeated(tmp_path, monkeypatch):
    words = ("reproduce", "vib-table1", "--scale", "smoke", "--quiet", "--json")
    first = json.loads(succeed(*words))
    monkeypatch.setattr("narrows.training.trainer.Trainer.run_epoch", None)
    monkeypatch.setattr("narrows.attacks.FGSM.__call__", None)
    second = json.loads(succeed(*words))
    assert (second["cells"], second["audits"]) == (first["cells"], first["audits"])


def test_a_queue_leaves_out_what_cannot_be_done(tmp_path, monkeypatch):
    monkeypatch.setattr("narrows.reproduction.queue._step_back", lambda: None)
    monkeypatch.setitem(load_table("vib-figure1").runs, "main", PaperRun("nothing"))
    words = ("vib-figure1", "reevaluation-figure7")
    out = succeed("reproduce", "--queue", *words, "--scale", "smoke")
    assert "vib-figure1 left out: " in out
    assert read_record(tmp_path / "runs/reproduction", "reevaluation-figure7", "smoke").finished


def test_refusals():
    assert "--list shows all" in narrows("reproduce").err
    assert "did you mean 'vib-table1'" in narrows("reproduce", "vib-tabel1").err
    assert "expected RUN=FOLDER" in narrows("reproduce", "vib-table1", "--use", "x").err
    said = narrows("reproduce", "vib-table1", "--use", "x=y")
    assert (said.code, "has no run 'x'; it has: main" in said.err) == (2, True)


def test_a_damaged_record_is_named(tmp_path):
    folder = tmp_path / "runs" / "reproduction"
    folder.mkdir(parents=True)
    (folder / "vib-table1-short.json").write_text("{}")
    assert "record damaged" in succeed("reproduce", "--list")
    said = narrows("reproduce", "vib-table1", "--markdown")
    assert (said.code, said.err.count("\n")) == (2, 1)


def test_every_printed_number_is_counted_once(tmp_path):
    totals = counts(tmp_path)
    assert sum(states.total() for states in totals.values()) == sum(
        load_table(name).printed for name in NAMES
    )
    assert {state for states in totals.values() for state in states} == {"not run"}
