"""An audit with a folder: the record is the stored one, and it is made once."""

import math

import pytest
import torch.nn.functional as F

from narrows.audit import CHECKS
from narrows.errors import ConfigError, StoreError
from narrows.experiments.auditing import (
    _PARTS,
    _kept,
    _place,
    _surfaces,
    audit_target,
    read_audit,
)
from narrows.experiments.targets import load_relatives, load_target
from narrows.runs import Member
from scenarios_audit import case_of, undefended
from scenarios_runs import Notes

SETTINGS = {"eps": 0.05, "norm": "linf", "budget": "fast", "claimed": None, "images": 8}


@pytest.fixture(scope="module")
def audited(small_run, tmp_path_factory):
    target = load_target(str(small_run.path), method="vib", beta=0.1, seed=1)
    out, notes = tmp_path_factory.mktemp("audit"), Notes()
    relatives = load_relatives(target)

    def once(**changes):
        return audit_target(target, relatives, **SETTINGS | changes, out=out, progress=notes)

    return once, once(), notes


def test_the_record_is_the_stored_one(audited, small_run):
    _, (record, _, folder), _ = audited
    assert read_audit(folder) == record
    request = record.request
    assert (request.run, request.member) == (small_run.config.identity(), Member("vib", 0.1, 1))
    assert (request.eps, request.images, request.budget) == (0.05, 8, "fast")
    assert request.twin is not None
    assert len(request.siblings) == 1
    assert [finding.check for finding in record.findings] == list(CHECKS)
    verdict = record.verdict
    assert 0 <= verdict.low <= verdict.reached <= verdict.high <= 1
    assert record.attacks


@pytest.mark.parametrize("name", ["eps", "claimed"])
def test_what_is_no_number_is_refused_before_a_folder_is_made(audited, name):
    once, *_ = audited
    with pytest.raises(ConfigError, match=f"{name} must be finite, got nan"):
        once(**{name: math.nan})


def test_a_finished_audit_is_kept(audited):
    once, first, notes = audited
    assert once() == first
    (note,) = notes.notes
    assert note.startswith(f"audit: finished before and kept, with {len(CHECKS)} checks, ")


def test_surfaces_are_around_images_that_are_right(audited):
    _, (_, surfaces, _), _ = audited
    if surfaces:  # this small model may be right about none of the eight
        assert all(point.loss >= 0 for point in surfaces)
        images = [point.image for point in surfaces if (point.a, point.b) == (0, 0)]
        assert images == sorted({point.image for point in surfaces})


def test_another_audit_does_not_go_into_the_folder(audited):
    once, _, _ = audited
    with pytest.raises(StoreError, match="the result of another request"):
        once(eps=0.06)


def test_an_audit_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"there is no .*record\.json"):
        read_audit(tmp_path)


def test_progress_counts_checks_and_then_remedies():
    checks = list(CHECKS)
    assert [_place(name, i) for i, name in enumerate(checks)] == list(range(len(checks)))
    assert _place("a remedy", 2) == len(checks) + 2
    assert _place("verdict", 0) == _PARTS


def test_a_surface_is_the_loss_around_the_first_images_that_are_right():
    case = case_of()
    points = _surfaces(case)
    rows = case.clean.nonzero().squeeze(1)[:3].tolist()
    assert sorted({point.image for point in points}) == rows
    for row in rows:
        (centre,) = [p for p in points if (p.image, p.a, p.b) == (row, 0, 0)]
        logits = case.model(case.x[row : row + 1])
        loss = F.cross_entropy(logits, case.y[row : row + 1]).item()
        assert centre.loss == pytest.approx(loss, abs=1e-3)
        assert centre.correct
        # The surface is the part of the plane that lies in the ball.
        own = [p for p in points if p.image == row]
        assert max(abs(p.a) for p in own) == max(abs(p.b) for p in own) == 1
        assert all(abs(p.a) + abs(p.b) <= 1 + 1e-6 for p in own)
        # Towards the attack the loss rises and the class is lost.
        (end,) = [p for p in own if (p.a, p.b) == (1, 0)]
        assert end.loss > centre.loss
        assert not end.correct


def test_where_no_image_is_right_there_is_no_surface():
    _, x, y = undefended()
    case = case_of(x=x, y=(y + 1) % 10)
    assert not case.clean.any()
    assert _surfaces(case) == []


def test_what_was_kept_is_counted(audited, tmp_path):
    _, (record, _, folder), _ = audited
    note = _kept(record, folder)
    assert f"{len(record.remedies)} remedies and {len(record.attacks)} attacks" in note
    assert note.endswith(f"delete {folder} to audit anew")
