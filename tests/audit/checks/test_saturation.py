"""Saturated logits are found where they hide what another loss fools."""

import pytest

from narrows.audit.checks.saturation import saturation
from narrows.audit.planted import ScaledLogits, Temperature
from scenarios_audit import case_of


@pytest.mark.parametrize("wrap", [Temperature, ScaledLogits])
def test_saturation_that_hides_is_found(wrap):
    finding = saturation(case_of(wrap))
    assert not finding.passed
    assert finding.data["saturated"] > 0.5
    assert finding.data["margin"] > 0.3
    assert finding.remedy == "report attacks on the margin, or in float64"


def test_saturation_alone_is_no_fault():
    finding = saturation(case_of(Temperature, eps=0.001))
    assert finding.data["saturated"] > 0.5
    assert finding.passed


def test_usual_logits_pass():
    assert saturation(case_of()).passed
