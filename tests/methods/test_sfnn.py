import pytest
import torch
from torch import nn

from narrows import SFNN, BinaryStochasticNet, Bottleneck, JointIMB, tap
from narrows.errors import ConfigError, InputError
from narrows.types import Batch
from scenarios_binary import exact_terms, tiny


def batch(n=16) -> Batch:
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(x, (x[:, 0] > x[:, 1]).long())


def test_the_loss_is_the_likelihood_of_the_network():
    torch.manual_seed(0)
    net, (x, y) = tiny((2, 2)), batch(4)
    repeats = 25
    r = [torch.zeros(2, dtype=torch.float64)] * 2
    exact = [exact_terms(net, x[i], int(y[i]), r)["vcr.0"].item() for i in range(4)]
    with torch.no_grad():
        found = SFNN(samples=60).double()(net, x.repeat(repeats, 1), y.repeat(repeats))
    assert found.item() == pytest.approx(sum(exact) / 4, abs=0.06)


def test_it_is_the_joint_method_without_its_terms():
    net, (x, y) = tiny((4, 2)), batch()
    alone = JointIMB(beta=0, hidden=[4, 2], gammas=[1, 0, 0], samples=5).double()
    losses = []
    for method in (SFNN(samples=5).double(), alone):
        torch.manual_seed(0)
        losses.append(method(net, x, y))
    torch.testing.assert_close(*losses)


def test_with_one_draw_it_is_cross_entropy_on_one_draw():
    net, (x, y) = tiny((4, 2)), batch()
    torch.manual_seed(0)
    found = SFNN(samples=1)(net, x, y)
    torch.manual_seed(0)
    torch.testing.assert_close(found, nn.functional.cross_entropy(net(x).logits, y))


@pytest.mark.parametrize("gradient", ["raiko", "straight_through", "reinforce"])
def test_a_training_loop_of_ones_own_learns(gradient):
    torch.manual_seed(0)
    net = BinaryStochasticNet(3, [8, 6], 2, gradient=gradient)
    method, (x, y) = SFNN(samples=4), batch(64)
    x = x.float()
    optimiser = torch.optim.Adam(net.parameters(), 0.03)
    for _ in range(200):
        optimiser.zero_grad()
        method(net, x, y).backward()
        optimiser.step()
    predicted = SFNN(samples=20).observe(net, Batch(x, y)).logits.argmax(1)
    assert (predicted == y).double().mean() > 0.85


def test_a_tapped_network_will_do_and_others_are_told_what_to_do():
    net, (x, y) = tiny((4, 2)), batch()
    assert SFNN(samples=2)(tap(net, ["layers.0"]), x, y).isfinite()
    model = Bottleneck(nn.Linear(3, 2), nn.Linear(2, 2)).double()
    with pytest.raises(InputError, match="Bottleneck has none: use BinaryStochasticNet"):
        SFNN()(model, x, y)
    with pytest.raises(InputError, match="through the method"):
        SFNN().terms(net(x), Batch(x, y))
    with pytest.raises(ConfigError, match="beta must be 0"):
        SFNN(beta=0.1)
    with pytest.raises(ConfigError, match="samples of SFNN must be at least 1, got 0"):
        SFNN(samples=0)
    with pytest.raises(ConfigError, match="chunk of SFNN must be at least 1, got 0"):
        SFNN(chunk=0)
