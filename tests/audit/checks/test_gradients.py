"""A gradient that is zero, missing or NaN is found, and one that is there passes."""

import pytest

from narrows.audit.checks.gradients import gradients
from narrows.audit.planted import Detached, ScaledLogits
from scenarios_audit import NaNGradient, NumPyInside, case_of


@pytest.mark.parametrize(
    ("wrap", "kind"),
    [(ScaledLogits, "zero"), (NaNGradient, "broken"), (Detached, "missing")],
)
def test_each_kind_is_told_apart(wrap, kind):
    finding = gradients(case_of(wrap))
    assert not finding.passed
    assert finding.data[kind] > 0.9


def test_gradients_that_cannot_be_asked_for_are_missing():
    finding = gradients(case_of(NumPyInside))
    assert (finding.passed, finding.data) == (False, {"missing": 1.0})


def test_a_true_gradient_passes():
    finding = gradients(case_of())
    assert (finding.passed, finding.data["zero"], finding.data["broken"]) == (True, 0, 0)
