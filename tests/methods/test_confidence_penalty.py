import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical

from narrows import ConfidencePenalty
from narrows.types import Batch, ModelOutput


def batch(n=16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand(n, 4, generator=generator, dtype=torch.float64), torch.arange(n) % 3)


def test_the_loss_is_that_of_the_equation():
    torch.manual_seed(0)
    model, (x, y) = nn.Linear(4, 3).double(), batch()
    slow = 0.0
    for i in range(16):
        q = torch.softmax(model(x[i]), 0)
        slow += (-torch.log(q[y[i]]) - 0.25 * -(q * torch.log(q)).sum()) / 16
    torch.testing.assert_close(ConfidencePenalty(beta=0.25).double()(model, x, y), slow)


def test_the_term_is_minus_the_entropy_averaged_over_draws():
    logits = torch.randn(5, 16, 3, dtype=torch.float64)
    value, weight = ConfidencePenalty(beta=0.5).regulariser(ModelOutput(logits), batch())[
        "negative_entropy"
    ]
    torch.testing.assert_close(value, -Categorical(logits=logits).entropy().mean())
    assert weight.item() == 0.5


def test_certain_predictions_cost_nothing_more_and_stay_finite():
    logits = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    value = (
        ConfidencePenalty(beta=1.0)
        .regulariser(ModelOutput(logits), batch())["negative_entropy"]
        .value
    )
    value.backward()
    assert value.item() == 0.0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("beta", "certainty"), [(0.5, 0.901829), (1.0, 0.782188), (2.0, 0.676741)])
def test_the_heavier_the_penalty_the_less_certain_the_best_prediction(beta, certainty):
    logits = nn.Parameter(torch.zeros(1, 2, dtype=torch.float64))
    optimiser = torch.optim.Adam([logits], 0.05)
    for _ in range(600):
        optimiser.zero_grad()
        terms = (
            ConfidencePenalty(beta)
            .double()
            .terms(ModelOutput(logits), Batch(logits, torch.tensor([0])))
        )
        terms.total.backward()
        optimiser.step()
    q = logits.softmax(1)[0, 0].item()
    assert q == pytest.approx(certainty, abs=1e-4)
    # Where the derivative of -log q - beta H vanishes.
    assert 1 / q == pytest.approx(beta * math.log(q / (1 - q)), rel=1e-3)
