"""The queue: what is finished is kept, what cannot be done is left out."""

import io

import pytest
from rich.console import Console

from narrows.errors import DataError
from narrows.reproduction import queue
from narrows.reproduction.records import KIND, ReproductionRecord
from narrows.reproduction.tables import load_table
from narrows.runs import Progress
from narrows.runs.files import write_json

TABLES = [load_table(name) for name in ("vib-table1", "vib-figure1", "vib-figure2")]


def test_the_queue_goes_on_after_what_fails(tmp_path, monkeypatch):
    record = ReproductionRecord("vib-table1", "short", finished=True)
    write_json(tmp_path / "vib-table1-short.json", KIND, record)
    asked = []

    def reproduce(table, *arguments, **more):
        asked.append(table.name)
        if table.name == "vib-figure1":
            raise DataError("mnist: files not found")

    monkeypatch.setattr(queue, "reproduce", reproduce)
    monkeypatch.setattr(queue, "_step_back", lambda: None)
    progress = Progress(Console(file=(file := io.StringIO()), width=200))
    left_out = queue.work_off(TABLES, "short", tmp_path, tmp_path, progress, "cpu")
    assert left_out == ["vib-figure1"]
    assert asked == ["vib-figure1", "vib-figure2"]
    assert "vib-table1: finished before, kept" in file.getvalue()
    assert "vib-figure1 left out: mnist: files not found" in file.getvalue()


def test_the_queue_takes_the_lowest_priority_and_one_thread(monkeypatch):
    taken = {}
    monkeypatch.setattr(queue.torch, "set_num_threads", lambda n: taken.update(threads=n))
    monkeypatch.setattr(queue.os, "setpriority", lambda which, who, value: taken.update(nice=value))
    queue._step_back()
    assert taken == {"threads": 1, "nice": 19}


def test_a_system_without_priorities_is_no_obstacle(monkeypatch):
    def refuse(*arguments):
        raise PermissionError

    monkeypatch.setattr(queue.torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(queue.os, "setpriority", refuse)
    queue._step_back()


def test_a_bug_is_not_hidden(tmp_path, monkeypatch):
    def reproduce(*arguments, **more):
        raise RuntimeError("a bug")

    monkeypatch.setattr(queue, "reproduce", reproduce)
    monkeypatch.setattr(queue, "_step_back", lambda: None)
    with pytest.raises(RuntimeError):
        queue.work_off(TABLES, "short", tmp_path, tmp_path, Progress(), "cpu")
