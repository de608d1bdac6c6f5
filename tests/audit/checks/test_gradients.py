"""A gradient that is zero, missing or NaN is found, and one that is there passes."""

import pytest

from narrows.audit.checks.gradients import gradients
from narrows.audit.planted import Detached, ScaledLogits
from scenarios_audit import Around, NaNGradient, NumPyInside, case_of


@pytest.mark.parametrize(
    ("wrap", "kind"),
    [(ScaledLogits, "zero"), (NaNGradient, "broken"), (Detached, "missing")],
)
def test_each_kind_is_told_apart(wrap, kind):
    finding = gradients(case_of(wrap))
    assert not finding.passed
    assert finding.data[kind] > 0.9
    assert finding.data.get("vanishing", 0) == 0
    assert finding.remedy


def test_gradients_that_cannot_be_asked_for_are_missing():
    finding = gradients(case_of(NumPyInside))
    assert (finding.passed, finding.data) == (False, {"missing": 1.0})


def test_a_true_gradient_passes():
    finding = gradients(case_of())
    assert (finding.passed, finding.data["zero"], finding.data["broken"]) == (True, 0, 0)


class Faint(Around):
    """A margin so wide that the gradient is next to nothing, in double precision."""

    def forward(self, x):
        return 1e-20 * self.model(x)


def test_a_vanishing_gradient_is_counted_and_no_fault():
    finding = gradients(case_of(Faint))
    assert finding.passed
    assert finding.remedy == ""
    assert finding.data == {"broken": 0, "zero": 0, "vanishing": 1}


def test_without_a_right_answer_nothing_is_examined():
    case = case_of()
    case.clean[:] = False
    assert not gradients(case).examined
