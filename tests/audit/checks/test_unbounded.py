"""What withstands an attack that may change anything is found."""

import pytest
import torch

from narrows.audit.checks.unbounded import unbounded
from narrows.audit.planted import Quantised
from scenarios_audit import case_of, results_of


def test_rounding_that_withstands_everything_is_found():
    assert unbounded(case_of(Quantised)).data["accuracy"] > 0.5


def test_an_honest_model_is_fooled_everywhere():
    finding = unbounded(case_of())
    assert (finding.passed, finding.data["accuracy"]) == (True, 0)


@pytest.mark.parametrize(("left", "passed"), [(6, True), (20, False)])
def test_the_count_decides(left, passed):
    case = results_of(lambda attack, view: torch.arange(100) >= left)
    finding = unbounded(case)
    assert finding.passed is passed
    assert bool(finding.remedy) is not passed
