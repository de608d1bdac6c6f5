"""A step raises the margin by what the gradient promises, or else is found out."""

import pytest

from narrows.audit.checks.linearity import linearity
from narrows.audit.planted import Detached, Shattered
from scenarios_audit import case_of


def test_a_ripple_promises_what_does_not_come():
    finding = linearity(case_of(Shattered))
    assert not finding.passed
    assert "of what is promised" in finding.evidence
    assert "the gradient misleads" in finding.remedy


def test_no_gradient_promises_nothing():
    assert "promises nothing at 100%" in linearity(case_of(Detached)).evidence


def test_a_smooth_model_keeps_its_promise():
    finding = linearity(case_of())
    assert finding.passed
    assert finding.remedy == ""
    ratio = finding.data["actual"][0] / finding.data["predicted"][0]
    assert ratio == pytest.approx(1, abs=0.5)
