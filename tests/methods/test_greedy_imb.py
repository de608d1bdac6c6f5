import pytest
import torch

from narrows import BinaryStochasticNet, GreedyIMB, JointIMB
from narrows.types import Batch
from scenarios_binary import tiny


def batch(n=16) -> Batch:
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(x, (x[:, 0] > x[:, 1]).long())


def gradients(net, method, seed=0) -> list[float]:
    """Size of the gradient of every layer of the network."""
    torch.manual_seed(seed)
    loss = method(net, *batch())
    found = torch.autograd.grad(loss, [layer.weight for layer in net.linear_layers()])
    return [gradient.abs().sum().item() for gradient in found]


@pytest.mark.parametrize(
    ("progress", "turn"), [(0.0, 0), (0.3, 0), (1 / 3, 1), (0.6, 1), (2 / 3, 2), (0.99, 2), (1, 2)]
)
def test_each_layer_has_its_turn_and_those_before_are_held(progress, turn):
    net, method = tiny((4, 3, 2)), GreedyIMB(0.1, [4, 3, 2], samples=2).double()
    method.progress.fill_(torch.tensor(progress))
    assert method.active.tolist() == [layer == turn for layer in range(3)]
    sizes = gradients(net, method)
    assert [size > 0 for size in sizes] == [layer >= turn for layer in range(4)]


@pytest.mark.parametrize("turn", [0, 1])
def test_a_turn_is_the_objective_of_its_layer_with_those_before_held(turn):
    net, data = tiny((4, 2)), batch()
    greedy = GreedyIMB(0.3, [4, 2], samples=3).double()
    greedy.progress.fill_(turn / 2)
    gammas = [0.0, 0.0, 0.0]
    gammas[turn + 1] = 1.0
    joint = JointIMB(0.3, [4, 2], gammas, samples=3).double()
    found = []
    for method in (greedy, joint):
        torch.manual_seed(0)
        layers = [layer.weight for layer in net.linear_layers()[turn:]]
        found.append(torch.autograd.grad(method(net, *data), layers))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("progress", [0.0, 0.5])
def test_all_priors_are_fitted_all_the_time_and_the_others_move_no_weights(progress):
    net, data = tiny((4, 2)), batch()
    method = GreedyIMB(0.3, [4, 2], samples=3).double()
    method.progress.fill_(progress)
    method(net, *data).backward()
    assert all(odds.grad.abs().sum() > 0 for odds in method.log_odds)
    before = gradients(net, method)
    with torch.no_grad():
        method.log_odds[1 if progress == 0 else 0].add_(3.0)
    assert gradients(net, method) == pytest.approx(before, rel=1e-12)


def test_a_training_loop_of_ones_own_learns():
    torch.manual_seed(0)
    net, method = BinaryStochasticNet(3, [8, 6], 2), GreedyIMB(1e-3, [8, 6], samples=4)
    data = batch(64)._replace(x=8 * batch(64).x.float() - 4)
    optimiser = torch.optim.SGD([*net.parameters(), *method.parameters()], 2.0)
    held = None
    for epoch in range(300):
        method.progress.fill_(epoch / 300)
        if epoch == 150:
            held = net.linear_layers()[0].weight.clone()
        optimiser.zero_grad()
        method(net, *data).backward()
        optimiser.step()
    assert torch.equal(net.linear_layers()[0].weight, held)
    output = GreedyIMB(0, [8, 6], samples=20).observe(net, data)
    assert (output.logits.argmax(1) == data.y).double().mean() > 0.85


def test_the_turn_is_saved_and_moves_with_the_method():
    method, other = (GreedyIMB(0.1, [4, 2]) for _ in range(2))
    method.progress.fill_(0.7)
    other.load_state_dict(method.state_dict())
    assert other.active.tolist() == [False, True]


def test_the_settings_of_the_paper():
    method = GreedyIMB.paper()
    assert (method.hidden, method.samples) == ((512, 512), 32)
    assert method.beta.item() == pytest.approx(1e-4)
