"""Noise is a fault where one draw misleads, and not otherwise; noise off the data is noise."""

import pytest

from narrows.audit.checks.noise import noise
from narrows.audit.planted import NoisyInput, NoisyLatent, NoisyWeights
from scenarios_audit import MonteCarloDropout, OffGrid, Wavering, case_of


@pytest.mark.parametrize("wrap", [NoisyInput, NoisyWeights, NoisyLatent])
def test_draws_that_point_apart_are_found(wrap):
    finding = noise(case_of(wrap))
    assert not finding.passed
    assert finding.data["cosine"] < 0.2 or finding.data["gain"] > 0.1


def test_honest_noise_passes():
    case = case_of(MonteCarloDropout, eps=0.05)
    finding = noise(case)
    assert case.stochastic
    assert finding.passed
    assert finding.data["cosine"] > 0.5


def test_noise_that_begins_off_the_data_is_noise():
    assert case_of(OffGrid).stochastic


def test_a_model_without_noise_passes():
    assert "draws no noise" in noise(case_of()).evidence


def test_answers_that_waver_are_reported():
    case = case_of(Wavering)
    assert not case.stochastic
    case.wavering[:20] = True
    finding = noise(case)
    assert not finding.passed
    assert "50.0%" in finding.evidence
