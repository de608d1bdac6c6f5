"""The options of `narrows reproduce`; tests/product runs it on every table."""

import json
from pathlib import Path

import click
import pytest

from narrows.commands.reproduce import _folders
from narrows.reproduction import carry, queue
from narrows.reproduction.records import ReproductionRecord
from narrows.reproduction.tables import find_tables, table_names
from scenarios_runs import narrows


def test_finished_runs_are_named():
    assert _folders(("main=a/b", "x=c=d")) == {"main": Path("a/b"), "x": Path("c=d")}
    assert _folders(()) == {}


@pytest.mark.parametrize("text", ["main", "=a", "main="])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(click.BadParameter, match="expected RUN=FOLDER"):
        _folders((text,))


def document(capsys, *words):
    code, out, err = narrows(capsys, "reproduce", *words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_the_json_of_several_tables_is_one_document(capsys, monkeypatch):
    def stored(table, scale, *places, **options):
        return ReproductionRecord(table.name, scale)

    monkeypatch.setattr(carry, "reproduce", stored)
    assert document(capsys, "vib-table1")["name"] == "vib-table1"
    parts = [table.name for table in find_tables("aib-table1")]
    assert len(parts) > 1
    assert [record["name"] for record in document(capsys, "aib-table1")] == parts


def test_the_list_and_the_queue_have_json_too(capsys, monkeypatch, tmp_path):
    listed = document(capsys, "--list", "--results", tmp_path)
    assert [item["table"]["name"] for item in listed] == table_names()
    monkeypatch.setattr(queue, "work_off", lambda tables, *rest: [tables[0].name])
    words = ["vib-table1", "vib-figure1", "--queue"]
    assert document(capsys, *words) == {"done": ["vib-figure1"], "left_out": ["vib-table1"]}
