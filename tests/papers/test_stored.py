"""Measurements on the models of a run are made once and then read."""

from dataclasses import dataclass

import pytest

from narrows.errors import StoreError
from narrows.papers.stored import Measurement, measured_members
from narrows.runs import Member, Progress
from scenarios_runs import copied


@dataclass(frozen=True)
class Width(Measurement):
    width: int


def widths(member: Member, model) -> list[Width]:
    return [Width(member, model.decoder[0].in_features)] if member.method == "vib" else []


def test_what_was_measured_is_read_back_and_not_measured_again(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    rows = measured_members(run, "code_width", Width, widths, Progress())
    assert rows == [Width(member, 2) for member in run.members(["vib"])]

    def never(member, model):
        raise AssertionError("it was measured before")

    assert measured_members(run, "code_width", Width, never, Progress()) == rows
    path = run.path / "figures" / "code_width.json"
    path.write_text(path.read_text().replace("2", "3"))
    with pytest.raises(StoreError, match=r"code_width\.json"):
        measured_members(run, "code_width", Width, never, Progress())
    path.unlink()
    assert measured_members(run, "code_width", Width, widths, Progress()) == rows


def test_a_run_that_is_not_finished_is_not_measured(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    run.files("vib").done.unlink()
    with pytest.raises(StoreError, match="is not finished"):
        measured_members(run, "code_width", Width, widths, Progress())
    assert not (run.path / "figures" / "code_width.json").exists()
