"""The inner attack, and the parts of a wrapped method's output; see also `test_conformance.py`."""

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, kl_divergence

from narrows import MART, CrossEntropy, PGDTraining
from narrows.errors import ConfigError
from narrows.methods.adversarial._base import divergence
from narrows.models.noise import SeededNoise, noise_from
from narrows.types import Batch, ModelOutput


def batch(n=16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand(n, 4, generator=generator, dtype=torch.float64), torch.arange(n) % 3)


def test_the_attack_on_a_linear_model_reaches_the_worst_corner():
    model, (x, y) = nn.Linear(4, 2).double(), batch()
    y = y % 2
    x_adv = PGDTraining(CrossEntropy(), eps=0.1, steps=20).attack(model, Batch(x, y))
    away = (model.weight[1 - y] - model.weight[y]).sign()
    torch.testing.assert_close(x_adv, (x + 0.1 * away).clamp(0, 1))


def test_the_start_is_uniform_in_the_ball():
    x = torch.full((50_000, 1), 0.5, dtype=torch.float64)
    method = PGDTraining(CrossEntropy(), eps=0.2, steps=1, step_size=0.0)
    with noise_from(SeededNoise(torch.Generator().manual_seed(0))):
        found = method.attack(nn.Linear(1, 2).double(), Batch(x, torch.zeros(50_000).long()))
    quantiles = torch.quantile((found - 0.3) / 0.4, torch.tensor([0.1, 0.5, 0.9]).double())
    assert quantiles.tolist() == pytest.approx([0.1, 0.5, 0.9], abs=0.01)


def test_a_normal_start_stays_close_to_the_image():
    x = torch.full((50_000, 1), 0.5, dtype=torch.float64)
    method = MART(CrossEntropy(), eps=0.2, steps=1, step_size=0.0)
    with noise_from(SeededNoise(torch.Generator().manual_seed(0))):
        x_adv = method.attack(nn.Linear(1, 2).double(), Batch(x, torch.zeros(50_000).long()))
    assert (x_adv - x).std().item() == pytest.approx(1e-3, rel=0.02)


def test_the_divergence_is_that_of_the_mean_probabilities():
    logits = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    p, q = (part.softmax(-1).mean(0) for part in logits)
    exact = kl_divergence(Categorical(p), Categorical(q))
    found = divergence(ModelOutput(logits[0]), ModelOutput(logits[1]))
    torch.testing.assert_close(found, exact)


def test_clean_and_adversarial_parts_come_back_from_one_output():
    model, data = nn.Linear(4, 3).double(), batch()
    method = MART(CrossEntropy(), eps=0.2, steps=2)
    clean, adversarial = method.split(method.observe(model, data))
    torch.testing.assert_close(clean.logits, model(data.x))
    assert not torch.equal(clean.logits, adversarial.logits)
    assert not clean.activations
    plain = ModelOutput(clean.logits)
    assert method.split(plain) == (plain, plain)


def test_a_variant_sets_its_arguments_and_options_override_them():
    method = MART.wrap(CrossEntropy(), "ib_rar", steps=3)
    assert (method.eps, method.steps, method.weight) == (0.03, 3, 0.5)
    with pytest.raises(ConfigError, match="unknown variant of PGDTraining 'ib_rar'"):
        PGDTraining.wrap(CrossEntropy(), "ib_rar")
