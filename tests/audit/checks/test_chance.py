"""More than chance at the gray radius is found, and less at a smaller radius."""

import pytest
import torch

from narrows.audit.checks.chance import chance
from narrows.audit.planted import Stopped
from scenarios_audit import case_of, results_of


def test_an_attack_that_fails_at_every_radius_is_found():
    finding = chance(case_of(Stopped))
    assert not finding.passed
    assert finding.data["curve"][0.5] > 0.9


def test_an_attack_that_works_passes():
    finding = chance(case_of())
    assert finding.passed
    assert finding.data["curve"][0.5] == 0


@pytest.mark.parametrize(("lost", "passed"), [(4, True), (13, False)])
def test_images_that_a_larger_radius_no_longer_fools(lost, passed):
    # Fooled at eps and not at 2 eps.
    case = results_of(
        lambda attack, view: torch.arange(100) >= (lost if attack.eps in (0.2, 0.5) else 0)
    )
    finding = chance(case)
    assert finding.passed is passed
    assert ("not at 0.2" in finding.evidence) is not passed
