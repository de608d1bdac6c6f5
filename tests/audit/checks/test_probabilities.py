"""Outputs that are probabilities are noticed, and logits are not taken for them."""

from narrows.audit.checks.probabilities import probabilities
from narrows.audit.planted import Probabilities
from scenarios_audit import case_of


def test_a_softmax_at_the_end_is_noticed():
    finding = probabilities(case_of(Probabilities))
    assert not finding.passed
    assert "return logits" in finding.remedy


def test_logits_pass():
    assert probabilities(case_of()).passed
