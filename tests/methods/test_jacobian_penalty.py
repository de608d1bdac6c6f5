"""The Jacobian penalty against norms that are known."""

import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from narrows import JacobianPenalty
from narrows.methods.jacobian_penalty import _projection
from narrows.models.noise import forked_rng
from narrows.types import Batch, ModelOutput


def penalty(model: nn.Module, x: torch.Tensor, draws: int) -> torch.Tensor:
    """The penalty, averaged over `draws` projections of each image."""
    method, many = JacobianPenalty(beta=1.0), x.repeat_interleave(draws, 0)
    batch = Batch(many, torch.zeros(len(many), dtype=torch.long))
    with forked_rng("cpu", 0):
        output = method.observe(model, batch)
    return method.regulariser(output, batch)["jacobian_norm"].value


def test_a_linear_network_has_the_squared_norm_of_its_weights():
    torch.manual_seed(0)
    model = nn.Linear(6, 4).double()
    x = torch.rand(3, 6, dtype=torch.float64)
    assert penalty(model, x, 20_000).item() == pytest.approx(
        model.weight.square().sum().item(), rel=0.02
    )


def test_a_network_has_the_mean_squared_norm_of_its_jacobians():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = torch.rand(4, 5, dtype=torch.float64)
    slow = vmap(jacrev(model))(x).square().sum((1, 2)).mean().item()
    assert penalty(model, x, 20_000).item() == pytest.approx(slow, rel=0.02)


def test_the_gradient_of_the_penalty_is_that_of_the_norm():
    model = nn.Linear(6, 3).double()
    penalty(model, torch.rand(2, 6, dtype=torch.float64), 20_000).backward()
    torch.testing.assert_close(model.weight.grad, 2 * model.weight.detach(), rtol=0.03, atol=0.03)


def test_draws_of_a_stochastic_code_are_averaged_before_they_are_differentiated():
    logits = torch.randn(7, 5, 3)
    with forked_rng("cpu", 0):
        together = _projection(ModelOutput(logits))
    with forked_rng("cpu", 0):
        alone = _projection(ModelOutput(logits.mean(0)))
    torch.testing.assert_close(together, alone)


def test_a_penalty_makes_the_network_smoother():
    torch.manual_seed(0)
    x = torch.rand(64, 8)
    y = (x[:, 0] > x[:, 1]).long()
    norms = []
    for beta in (0.0, 0.1):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
        method = JacobianPenalty(beta)
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(100):
            loss = method(model, x, y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        norms.append(penalty(model, x, 10).item())
    assert norms[1] < norms[0] / 4
