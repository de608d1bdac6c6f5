"""The mean takes the place of every kind of draw where the model is differentiated."""

import pytest
import torch
import torch.nn.functional as F

from narrows.audit.still import Still


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda x: torch.randn(x.shape), 0.0),
        (torch.randn_like, 0.0),
        (lambda x: torch.rand(x.shape), 0.5),
        (torch.rand_like, 0.5),
        (lambda x: torch.normal(2.0, 1.0, x.shape), 2.0),
        (lambda x: torch.normal(torch.ones_like(x), 1.0), 1.0),
        (lambda x: torch.distributions.Normal(torch.ones_like(x), 1.0).rsample(), 1.0),
        (lambda x: torch.empty_like(x).normal_(3.0, 1.0), 3.0),
        (lambda x: torch.empty_like(x).uniform_(1.0, 2.0), 1.5),
        (lambda x: torch.bernoulli(torch.full_like(x, 0.25)), 0.25),
        (lambda x: F.dropout(torch.ones_like(x), 0.5, True), 1.0),
    ],
)
def test_still_puts_the_mean_for_every_kind_of_draw(draw, mean):
    class Noisy(torch.nn.Module):
        def forward(self, x):
            return 3 * x + x * draw(x)

    x = torch.ones(5, 2, requires_grad=True)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        (found,) = torch.autograd.grad(Still(Noisy())(x).sum(), x)
    assert torch.equal(found, torch.full_like(x, 3 + mean))


def test_without_a_gradient_it_is_a_draw():
    class Noisy(torch.nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    x = torch.ones(2, 3)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        drawn = Still(Noisy())(x)
        torch.manual_seed(0)
        assert torch.equal(drawn, x + torch.randn_like(x))
