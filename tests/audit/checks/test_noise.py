"""Noise is a fault where one draw misleads, and not otherwise; noise off the data is noise."""

import sys

import pytest
import torch

from narrows.audit.checks.noise import noise
from narrows.audit.planted import NoisyInput, NoisyLatent, NoisyWeights
from scenarios_audit import MonteCarloDropout, OffGrid, Wavering, case_of, results_of


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


@pytest.mark.parametrize(
    ("cosine", "more", "passed"), [(0.9, 0, True), (0.9, 40, False), (0.0, 0, False)]
)
def test_either_sign_of_misleading_noise_is_enough(monkeypatch, cosine, more, passed):
    module = sys.modules["narrows.audit.checks.noise"]
    monkeypatch.setattr(module, "_cosine", lambda case, rows: cosine)

    def success(attack, view):
        return torch.arange(100) < 20 + more * (attack.draws > 1)

    case = results_of(success)
    case.stochastic, case.clean = True, torch.ones(100, dtype=torch.bool)
    finding = noise(case)
    assert finding.passed is passed
    assert finding.data == {"cosine": cosine, "gain": more / 100}
