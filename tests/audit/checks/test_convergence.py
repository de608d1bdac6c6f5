"""More effort that fools more images is found, unless it is by a few."""

from dataclasses import replace

import pytest
import torch

from narrows.audit.checks.convergence import convergence
from scenarios_audit import SMALL, case_of, results_of


def test_a_single_step_has_not_converged():
    finding = convergence(case_of(budget=replace(SMALL, steps=1), eps=0.15))
    assert not finding.passed
    assert list(finding.data["steps"]) == [1, 4]


def test_an_attack_that_has_converged_passes():
    assert convergence(case_of(eps=0.1)).passed


@pytest.mark.parametrize(("more", "passed"), [(3, True), (6, True), (7, False)])
@pytest.mark.parametrize("by", ["steps", "restarts"])
def test_a_few_of_a_hundred_images_are_no_evidence(more, passed, by):
    def success(attack, view):
        stronger = getattr(attack, by) > {"steps": SMALL.steps, "restarts": 1}[by]
        return torch.arange(100) < 40 + more * stronger

    assert convergence(results_of(success)).passed is passed
