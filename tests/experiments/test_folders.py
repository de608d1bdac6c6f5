from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from narrows.errors import StoreError
from narrows.experiments.folders import request_folder
from narrows.runs import Progress
from narrows.runs.environment import Environment
from narrows.runs.files import locked_folder, read_json, write_json
from scenarios_runs import Notes


@dataclass(frozen=True)
class Request:
    name: str
    eps: float


ASKED = Request("a", 0.1)


def opened(request, out=None, prefix="attacks/digits", progress=None) -> Path:
    progress = progress or Progress()
    with request_folder(request, out, prefix, "cpu", "record.json", progress) as folder:
        return folder


def test_a_folder_is_named_by_its_request(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, other = opened(ASKED), opened(replace(ASKED, eps=0.2))
    assert first != other
    assert opened(ASKED) == first
    assert first.parent == Path("attacks")
    assert first.name.startswith("digits-")
    assert read_json(first / "request.json", "request", Request) == ASKED
    assert (first / "environment.json").exists()


def test_a_folder_of_another_request_is_refused_and_stays_what_it_was(tmp_path):
    opened(ASKED, tmp_path)
    before = (tmp_path / "request.json").read_bytes()
    with pytest.raises(StoreError, match="holds the result of another request; choose another"):
        opened(replace(ASKED, name="b"), tmp_path)
    assert (tmp_path / "request.json").read_bytes() == before
    assert opened(ASKED, tmp_path) == tmp_path


def test_a_folder_in_use_is_refused(tmp_path):
    with locked_folder(tmp_path), pytest.raises(StoreError, match="in use by another process"):
        opened(ASKED, tmp_path)


def test_what_another_version_began_is_continued_with_a_note(tmp_path):
    opened(ASKED, tmp_path)
    write_json(tmp_path / "environment.json", "environment", Environment(narrows="0.0.1"))
    notes = Notes()
    assert opened(ASKED, tmp_path, progress=notes) == tmp_path
    (note,) = notes.notes
    assert f"{tmp_path} was begun by narrows 0.0.1 and is continued by narrows " in note
