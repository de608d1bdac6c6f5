"""A search that fools what the gradient does not is found: by scores, or by classes alone."""

import pytest
import torch

from narrows.attacks import PGD, Square
from narrows.audit._rays import RayS
from narrows.audit.checks.gradient_free import gradient_free
from narrows.audit.planted import Detached
from scenarios_audit import Misleading, case_of, results_of


def test_a_hidden_gradient_is_found():
    finding = gradient_free(case_of(Detached))
    assert not finding.passed
    assert finding.data["square"] < finding.data["pgd"]


def test_confidence_that_misleads_is_found_by_classes_alone():
    finding = gradient_free(case_of(Misleading, eps=0.12))
    assert not finding.passed
    assert finding.data["rays"] < finding.data["pgd"] - 0.2
    assert finding.data["rays"] < finding.data["square"] - 0.2


def test_an_honest_model_passes():
    assert gradient_free(case_of(eps=0.1)).passed


@pytest.mark.parametrize(("kind", "passed"), [(Square, False), (RayS, False), (PGD, True)])
def test_either_search_counts(kind, passed):
    case = results_of(lambda attack, view: torch.full((100,), isinstance(attack, kind)))
    assert gradient_free(case).passed is passed
