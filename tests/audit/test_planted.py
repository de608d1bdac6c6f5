"""Planted defences: found out, broken, and next to nothing on clean images."""

import pytest
import torch

from narrows.audit import Outcome, audit
from narrows.audit.planted import PLANTED
from scenarios_audit import EPS, SMALL, undefended


def found_out(name):
    model, x, y = undefended()
    found = audit(PLANTED[name](model), x, y, eps=EPS, budget=SMALL)
    claims = next(finding.data for finding in found.findings if finding.check == "one_step")
    assert max(claims["fgsm"], claims["pgd"]) > 0.6
    assert found.verdict.outcome is Outcome.OVERESTIMATED
    assert found.flagged
    return found


def test_a_planted_defence_is_found_out_and_broken():
    assert found_out("quantised").verdict.reached == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_every_planted_defence_is_found_out_and_broken(name):
    # One image of 40 is more than the 2 points that are allowed: none is.
    assert found_out(name).verdict.reached == 0


def test_planted_defences_change_next_to_nothing():
    model, x, y = undefended()
    clean = (model(x).argmax(1) == y).double().mean()
    torch.manual_seed(0)
    for wrap in PLANTED.values():
        votes = torch.stack([wrap(model)(x).softmax(1) for _ in range(50)]).mean(0)
        assert (votes.argmax(1) == y).double().mean() >= clean - 0.03
