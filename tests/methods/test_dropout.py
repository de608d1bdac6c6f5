import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from narrows import Dropout, tap
from narrows.errors import ConfigError, InputError
from narrows.models.noise import noise_from
from narrows.types import Batch


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)]
        return nn.Sequential(*layers).double()


def batch(n=16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 4, generator=generator, dtype=torch.float64)
    return Batch(x, (x[:, 0] > x[:, 1]).long())


def test_the_loss_is_that_of_the_network_with_its_units_thinned_one_by_one():
    model, (x, y) = net(), batch()
    method = Dropout.from_rate(0.25).double()
    torch.manual_seed(2)
    loss = method(model, x, y)
    torch.manual_seed(2)
    noise = [torch.randn(16, width, dtype=torch.float64) for width in (5, 3)]
    cut = torch.distributions.Normal(0.0, 1.0).icdf(method.rate)
    total = 0.0
    for i in range(16):
        h = torch.tanh(model[0](x[i]))
        h = torch.stack(
            [h[k] / (1 - method.rate) if noise[0][i, k] > cut else 0 * h[k] for k in range(5)]
        )
        h = torch.relu(model[2](h))
        h = torch.stack(
            [h[k] / (1 - method.rate) if noise[1][i, k] > cut else 0 * h[k] for k in range(3)]
        )
        total -= torch.log_softmax(model[4](h), 0)[y[i]] / 16
    torch.testing.assert_close(loss, total)


class OneMask:
    """Stands in for the noise: the given pattern is kept, for every input."""

    def __init__(self, kept):
        self.kept = torch.tensor(kept, dtype=torch.float64)

    def normal(self, shape, like):
        return (10 * (2 * self.kept - 1)).expand(tuple(shape))


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_beta_is_the_weight_of_the_quadratic_penalty_it_amounts_to(beta):
    # All masks enumerated, on a linear model whose weights are so small that two orders suffice.
    torch.manual_seed(0)
    model, (x, y) = nn.Sequential(nn.Identity(), nn.Linear(4, 2)).double(), batch(6)
    with torch.no_grad():
        model[1].weight.mul_(1e-3)
    method = Dropout(beta=beta, layers=["0"]).double()
    rate = method.rate.item()
    expected = 0.0
    for kept in itertools.product([0, 1], repeat=4):
        with noise_from(OneMask(kept)):
            weight = (1 - rate) ** sum(kept) * rate ** (4 - sum(kept))
            expected += weight * method(model, x, y).item()
    plain = F.cross_entropy(model(x), y).item()
    q = model(x).softmax(1)
    slope = model[1].weight[0] - model[1].weight[1]  # of the logit that decides
    curvature = (q[:, 0] * q[:, 1])[:, None] * (x * slope) ** 2
    penalty = 0.5 * curvature.sum(1).mean().item()
    assert (expected - plain) / beta == pytest.approx(penalty, rel=2e-3)


def test_only_named_layers_are_thinned_and_a_tap_sees_them_thinned():
    model, (x, y) = net(), batch()
    output = Dropout.from_rate(0.5, layers=["model.3"]).observe(tap(model, ["1", "3"]), Batch(x, y))
    assert (output.activations["1"] != 0).all()
    assert (output.activations["3"] == 0).double().mean() > 0.3


def test_in_evaluation_mode_and_afterwards_the_model_is_as_it_was():
    model, (x, y) = net(), batch()
    clean = model(x)
    method = Dropout(beta=1.0).double()
    assert not torch.equal(method.observe(model, Batch(x, y)).logits, clean)
    assert torch.equal(model(x), clean)
    model.eval()
    assert torch.equal(method.observe(model, Batch(x, y)).logits, clean)


def test_the_hooks_go_even_after_an_exception():
    model, (x, y) = net(), batch()
    with pytest.raises(RuntimeError):
        Dropout(beta=1.0).double()(model, x[:, :3], y)
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(rate):
    with pytest.raises(ConfigError, match=r"must lie in \[0, 1\)"):
        Dropout.from_rate(rate)


def test_the_rate_is_what_it_was_built_from():
    assert Dropout.from_rate(0.3).rate.item() == pytest.approx(0.3)
    assert Dropout.from_rate(0.5).beta.item() == 1.0


def test_models_without_the_layers_are_refused():
    with pytest.raises(InputError, match="Linear has no modules that are known as such"):
        Dropout(beta=1.0)(nn.Linear(4, 2), *batch())
    with pytest.raises(InputError, match="no layer '7' for dropout; its hidden layers: 1, 3"):
        Dropout(beta=1.0, layers=["7"])(net(), *batch())
