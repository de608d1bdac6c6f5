"""A margin that changes within an invisible distance is found; noise alone is not."""

import pytest

from narrows.audit.checks.unstable import unstable
from narrows.audit.planted import NoisyWeights
from scenarios_audit import MonteCarloDropout, case_of


def test_a_ripple_of_the_logits_is_found_at_held_noise():
    finding = unstable(case_of(NoisyWeights))
    assert not finding.passed
    assert finding.data["change"] > 0.1


@pytest.mark.parametrize("wrap", [None, MonteCarloDropout])
def test_smooth_models_pass(wrap):
    assert unstable(case_of(wrap, eps=0.1)).passed
