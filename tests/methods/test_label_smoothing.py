import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical, kl_divergence

from narrows import LabelSmoothing
from narrows.errors import ConfigError
from narrows.types import Batch, ModelOutput


def batch(n=16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 4, generator=generator, dtype=torch.float64)
    return Batch(x, torch.arange(n) % 3)


def model() -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(4, 3).double()


def test_the_term_is_the_divergence_from_the_uniform_distribution():
    logits = model()(batch().x)
    value, weight = LabelSmoothing(beta=0.5).regulariser(ModelOutput(logits), batch())[
        "uniform_divergence"
    ]
    uniform = Categorical(probs=torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(value, kl_divergence(uniform, Categorical(logits=logits)).mean())
    assert weight.item() == 0.5


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_its_gradient_is_that_of_cross_entropy_with_smoothed_targets(smoothing):
    net, (x, y) = model(), batch()
    own = torch.autograd.grad(
        LabelSmoothing.from_smoothing(smoothing).double()(net, x, y), net.weight
    )
    targets = torch.full((16, 3), smoothing / 3, dtype=torch.float64)
    for i, label in enumerate(y):
        targets[i, label] += 1 - smoothing
    loss = -(targets * torch.log_softmax(net(x), 1)).sum(1).mean()
    slow = torch.autograd.grad(loss, net.weight)
    torch.testing.assert_close(own[0] * (1 - smoothing), slow[0], rtol=1e-6, atol=1e-9)
    builtin = F.cross_entropy(net(x), y, label_smoothing=smoothing)
    torch.testing.assert_close(loss, builtin)


def test_an_undecided_prediction_has_no_divergence_and_draws_are_averaged():
    term = LabelSmoothing(beta=1.0).regulariser
    even = ModelOutput(torch.full((2, 5), 7.0))
    assert term(even, batch())["uniform_divergence"].value.item() == pytest.approx(0, abs=1e-6)
    draws = torch.randn(4, 6, 3, dtype=torch.float64)
    values = [term(ModelOutput(d), batch())["uniform_divergence"].value for d in draws]
    torch.testing.assert_close(
        term(ModelOutput(draws), batch())["uniform_divergence"].value, torch.stack(values).mean()
    )


def test_the_best_prediction_is_the_smoothed_label():
    torch.manual_seed(0)
    logits = nn.Parameter(torch.zeros(1, 4, dtype=torch.float64))
    method, y = LabelSmoothing.from_smoothing(0.2).double(), torch.tensor([2])
    optimiser = torch.optim.Adam([logits], 0.1)
    for _ in range(400):
        optimiser.zero_grad()
        method.terms(ModelOutput(logits), Batch(logits, y)).total.backward()
        optimiser.step()
    expected = torch.tensor([[0.05, 0.05, 0.85, 0.05]], dtype=torch.float64)
    torch.testing.assert_close(logits.softmax(1).detach(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_a_share_that_is_none_is_refused(smoothing):
    with pytest.raises(ConfigError, match=r"smoothing must lie in \[0, 1\)"):
        LabelSmoothing.from_smoothing(smoothing)
