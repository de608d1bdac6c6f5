"""Every check has a test, remedies that exist, and says its name; honest models pass them all."""

from pathlib import Path

import pytest

from narrows.audit.checks import CHECKS
from narrows.audit.remedies import ALWAYS, ANSWERS, REMEDIES, WHERE_ODD
from narrows.types import Finding
from scenarios_audit import case_of, undefended


def test_every_check_has_a_test_and_an_answer():
    tested = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert set(CHECKS) == set(ANSWERS) == tested - {"registry"}
    answers = {name for names in ANSWERS.values() for name in names}
    assert answers | {*ALWAYS, *WHERE_ODD} == set(REMEDIES)


@pytest.fixture(scope="module")
def honest():
    return case_of(eps=0.1, twin=undefended()[0], siblings=(undefended()[0],))


@pytest.mark.parametrize("name", CHECKS)
def test_passes_on_an_honest_model(name, honest):
    finding = CHECKS[name](honest)
    assert isinstance(finding, Finding)
    assert (finding.check, finding.passed, finding.remedy) == (name, True, "")
    assert finding.examined
    assert finding.evidence


@pytest.mark.parametrize("name", CHECKS)
def test_a_model_that_is_always_wrong_is_no_obstacle(name):
    model, x, _ = undefended()
    case = case_of(x=x[:6], y=(model(x[:6]).argmax(1) + 1) % 10)
    assert CHECKS[name](case).evidence
