"""Memory is found in tensors, attributes and elsewhere, where it changes what the model says."""

import pytest

from narrows.audit.checks.state import state
from scenarios_audit import (
    Caching,
    Drifting,
    Forgetful,
    Global,
    Remembering,
    Tiring,
    case_of,
)


@pytest.mark.parametrize(
    ("wrap", "where"), [(Drifting, "passes"), (Tiring, "asked"), (Remembering, "memory")]
)
def test_memory_is_named(wrap, where):
    case = case_of(wrap, eps=0.05)
    case.plain(case.pgd(restarts=3))  # long enough to tire it
    finding = state(case)
    assert not finding.passed
    assert "stateful" in finding.evidence
    assert where in finding.evidence


def test_memory_outside_of_the_model_is_found():
    Global.patience = 10**6
    case = case_of(Global)
    Global.patience = Global.calls + 5
    case.plain(case.pgd())
    finding = state(case)
    assert not finding.passed
    assert "outside of its parameters" in finding.evidence


@pytest.mark.parametrize("wrap", [None, Caching, Forgetful])
def test_what_changes_no_answer_is_no_memory(wrap):
    case = case_of(wrap)
    case.plain(case.pgd())
    assert state(case).passed


def test_a_model_that_tires_is_judged_fresh():
    case = case_of(Tiring)
    assert case.plain(case.pgd()).success.any()
    assert case.model.asked == 0
