"""The inner attack, and the parts of a wrapped method's output; see also `test_conformance.py`."""

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, kl_divergence

from narrows import IBRAR, MART, TRADES, CrossEntropy, PGDTraining
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
    method = PGDTraining.ib_rar(CrossEntropy())
    assert (method.eps, method.steps, method.regularise) == (0.03, 10, "as_coded")
    assert method.step_size == pytest.approx(0.0069)
    with pytest.raises(ConfigError, match="unknown variant of PGDTraining 'ib_arr'"):
        PGDTraining.wrap(CrossEntropy(), "ib_arr")


def textbook(values: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """nHSIC of two kernels by inverses, eps = 1e-3."""
    m = len(values)
    h = torch.eye(m, dtype=torch.float64) - 1 / m
    ridge = 1e-3 * m * torch.eye(m, dtype=torch.float64)
    first, second = (h @ k @ h @ torch.linalg.inv(h @ k @ h + ridge) for k in (values, other))
    return torch.trace(first @ second)


def gaussian(values: torch.Tensor) -> torch.Tensor:
    return torch.exp(-(torch.cdist(values, values) ** 2) / (2 * 25 * values.shape[1]))


@pytest.mark.parametrize(
    ("wrapper", "regularise", "read"),
    [
        (PGDTraining, "clean", ["x"]),
        (PGDTraining, "adversarial", ["x_adv"]),
        (PGDTraining, "as_coded", ["x_adv"]),
        (TRADES, "as_coded", ["x", "x_adv"]),
        (MART, "as_coded", ["x", "x_adv"]),
    ],
)
def test_the_layers_that_are_compared_with_the_inputs(wrapper, regularise, read):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    data, seen = batch(), []
    method = wrapper(IBRAR(0.02, eps=1e-3), eps=0.2, steps=2, regularise=regularise).double()
    attack = method.attack
    method.attack = lambda model, batch: seen.append(attack(model, batch)) or seen[-1]
    terms = method.terms(method.observe(model, data), data).regularisers
    images = {"x": data.x, "x_adv": seen[0]}
    assert (images["x_adv"] - images["x"]).abs().max() > 0.1
    inputs = seen[0] if regularise == "adversarial" else data.x
    one_hot = torch.eye(3, dtype=torch.float64)[data.y]
    kernels = [gaussian(torch.tanh(model[0](images[name]))) for name in read]
    of_x = sum(textbook(gaussian(inputs), kernel) for kernel in kernels)
    of_y = sum(textbook(gaussian(one_hot), kernel) for kernel in kernels)
    torch.testing.assert_close(terms["nhsic_x"].value, of_x, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(terms["nhsic_y"].value, of_y, rtol=1e-6, atol=1e-9)


def test_as_coded_pgd_training_passes_no_clean_image():
    passes = []
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    model.register_forward_hook(lambda *_: passes.append(1))
    PGDTraining(IBRAR(0.02), eps=0.2, steps=2, regularise="as_coded").double()(model, *batch())
    assert len(passes) == 3


@pytest.mark.parametrize("wrapper", [TRADES, MART])
def test_ib_rar_attacks_the_cross_entropy_from_a_uniform_start(wrapper):
    model, data = nn.Linear(4, 3).double(), batch()
    torch.manual_seed(3)
    few = {"eps": 0.2, "steps": 2, "step_size": 0.05}
    x_adv = wrapper.wrap(CrossEntropy(), "ib_rar", **few).attack(model, data)
    torch.manual_seed(3)
    assert torch.equal(x_adv, PGDTraining(CrossEntropy(), **few).attack(model, data))
    torch.manual_seed(3)
    assert not torch.equal(x_adv, wrapper(CrossEntropy(), **few).attack(model, data))
