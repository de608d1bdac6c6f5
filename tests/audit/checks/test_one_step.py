"""FGSM that fools more than PGD is found, unless it is by a few images."""

import pytest
import torch

from narrows.attacks import FGSM
from narrows.audit.checks.one_step import one_step
from narrows.audit.planted import Shattered
from scenarios_audit import case_of, results_of


def test_a_path_that_misleads_is_found():
    finding = one_step(case_of(Shattered))
    assert not finding.passed
    assert finding.data["fgsm"] < finding.data["pgd"]


def test_an_honest_model_passes():
    assert one_step(case_of(eps=0.1)).passed


@pytest.mark.parametrize(("more", "passed"), [(0, True), (3, True), (6, True), (7, False)])
def test_a_few_of_a_hundred_images_are_no_evidence(more, passed):
    by_many = torch.arange(100) < 40
    by_one = torch.arange(100) < 40 + more
    case = results_of(lambda attack, view: by_one if isinstance(attack, FGSM) else by_many)
    assert one_step(case).passed is passed
