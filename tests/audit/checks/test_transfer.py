"""Transfer that fools what the gradient does not is found, from a twin or a taught network."""

import pytest

from narrows.audit.checks.transfer import transfer
from narrows.audit.planted import Stopped
from scenarios_audit import case_of, undefended


def test_a_twin_gives_a_false_defence_away():
    finding = transfer(case_of(Stopped, twin=undefended()[0]))
    assert not finding.passed
    assert finding.data["twin"] < 0.2
    assert "an attack on the twin" in finding.evidence


def test_a_taught_network_does_too():
    finding = transfer(case_of(Stopped))
    assert not finding.passed
    assert set(finding.data) == {"pgd", "surrogate", "labels"}
    assert finding.data["surrogate"] < 0.5


@pytest.mark.parametrize("twin", [True, False])
def test_an_honest_model_passes(twin):
    assert transfer(case_of(eps=0.1, twin=undefended()[0] if twin else None)).passed
