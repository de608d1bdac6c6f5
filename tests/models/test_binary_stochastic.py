import numpy as np
import pytest
import torch
from torch import nn

from narrows import FGSM, BinaryStochasticNet, as_classifier
from narrows.attacks.entrance import is_stochastic
from narrows.errors import ConfigError, InputError
from narrows.models import latent_mode, tap
from narrows.models.binary_stochastic import tree
from scenarios_binary import codes_of, every_tree, forced, log_probability, tiny

GRADIENTS = ["raiko", "straight_through", "reinforce"]


def inputs(batch=4) -> torch.Tensor:
    return torch.rand(batch, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("samples", [None, 1, 5])
def test_shapes_of_what_it_returns(samples):
    net = tiny((4, 2), samples=samples)
    output = net(inputs())
    lead = () if samples is None else (samples,)
    assert output.logits.shape == (*lead, 4, 3)
    assert output.latent.z.shape == (*lead, 4, 2)
    assert output.latent.mean.shape == (4, 2)
    assert {k: v.shape for k, v in output.activations.items()} == {
        "z1": (*lead, 4, 4),
        "z2": (*lead, 4, 2),
    }


def test_every_unit_is_a_coin_of_its_own_probability():
    torch.manual_seed(0)
    net, x = tiny((5, 3), samples=20_000), inputs(1)
    output = net(x)
    first, second = net.linear_layers()[:2]
    z1, z2 = (output.activations[name].squeeze(1) for name in ("z1", "z2"))
    assert set(z1.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(z1.mean(0), torch.sigmoid(first(x))[0], atol=0.015, rtol=0)
    for code in z1.unique(dim=0)[:4]:
        given = z2[(z1 == code).all(1)]
        if len(given) > 1000:
            wanted = torch.sigmoid(second(code))
            torch.testing.assert_close(given.mean(0), wanted, atol=0.07, rtol=0)
    torch.testing.assert_close(
        output.latent.mean[0], torch.sigmoid(second(z1)).mean(0), atol=1e-12, rtol=0
    )


def test_at_the_mean_it_is_a_sigmoid_network_with_its_own_gradient():
    net, x = tiny((4, 2), mode="mean"), inputs()
    layers = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in net.layers]
    h = x.numpy()
    for weight, bias in layers[:-1]:
        h = 1 / (1 + np.exp(-(h @ weight.T + bias)))
    logits = h @ layers[-1][0].T + layers[-1][1]
    torch.testing.assert_close(net(x).logits, torch.from_numpy(logits))
    torch.testing.assert_close(tree(net, x, samples=7).logits, torch.from_numpy(logits))
    assert torch.autograd.gradcheck(lambda x: net(x).logits, inputs(2).requires_grad_())


def test_the_average_over_draws_is_the_sum_over_all_codes():
    torch.manual_seed(0)
    net, x = tiny((2, 2)), inputs(1)
    _, draws = every_tree((2, 2), 1)
    with forced(draws):
        every = tree(net, x.repeat(16, 1), samples=1)
    p = log_probability(net, x.repeat(16, 1), every.codes).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    exact = (p[:, None] * every.logits.softmax(1)).sum(0)
    with torch.no_grad():
        drawn = as_classifier(net, samples=20_000)(x).exp()[0]
        leaves = tree(net, x, samples=150).logits.softmax(1).mean(0)
    torch.testing.assert_close(drawn, exact, atol=0.01, rtol=0)
    torch.testing.assert_close(leaves, exact, atol=0.03, rtol=0)


def test_the_rows_of_a_tree_are_each_parents_children():
    torch.manual_seed(0)
    net, x, m = tiny((4, 3)), inputs(2), 3
    drawn = tree(net, x, samples=m)
    first, second, last = net.linear_layers()
    for b in range(2):
        torch.testing.assert_close(drawn.scores[0][b], first(x[b]))
        for m1 in range(m):
            z1 = drawn.codes[0][m1 * 2 + b]
            torch.testing.assert_close(drawn.scores[1][m1 * 2 + b], second(z1))
            for m2 in range(m):
                row = (m2 * m + m1) * 2 + b
                torch.testing.assert_close(drawn.logits[row], last(drawn.codes[1][row]))


def expected_gradients(net, x, read) -> list[torch.Tensor]:
    """The mean of an estimator's gradient over all that can be drawn, without drawing."""
    count, draws = every_tree(net.hidden, 1)
    many = x.repeat(count, 1)
    with forced(draws):
        drawn = tree(net, many, samples=1)
    weight = log_probability(net, many, drawn.codes).exp().detach()
    parameters = list(net.parameters())
    return list(torch.autograd.grad((weight * read(drawn.logits)).sum(), parameters))


def exact_gradients(net, x, read) -> list[torch.Tensor]:
    """The gradient of the mean over all codes."""
    count, draws = every_tree(net.hidden, 1)
    many = x.repeat(count, 1)
    with forced(draws):
        drawn = tree(net, many, samples=1)
    codes = tuple(z.detach() for z in drawn.codes)
    logits = net.linear_layers()[-1](codes[-1])
    expected = (log_probability(net, many, codes).exp() * read(logits)).sum()
    return list(torch.autograd.grad(expected, list(net.parameters())))


def linear(logits):
    return logits @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def cross_entropy(logits):
    return -logits.log_softmax(1)[:, 1]


def error(found, exact) -> float:
    return max((a - b).abs().max().item() for a, b in zip(found, exact, strict=True))


def test_the_gradient_of_all_codes_is_that_of_finite_differences():
    net, x, step = tiny((3,)), inputs(1), 1e-6
    weight = net.linear_layers()[0].weight

    def expected():
        codes = codes_of(3)
        p = torch.sigmoid(net.linear_layers()[0](x))
        of_code = torch.where(codes > 0.5, p, 1 - p).prod(1)
        return (of_code * cross_entropy(net.linear_layers()[1](codes))).sum().item()

    gradient = exact_gradients(net, x, cross_entropy)[0]
    with torch.no_grad():
        for place in [(0, 0), (2, 1)]:
            weight[place] += step
            above = expected()
            weight[place] -= 2 * step
            below = expected()
            weight[place] += step
            assert gradient[place].item() == pytest.approx((above - below) / (2 * step), abs=1e-8)


def test_raiko_is_exact_where_the_loss_is_linear_in_the_draws():
    net, x = tiny((3,)), inputs(1)
    found, exact = (kind(net, x, linear) for kind in (expected_gradients, exact_gradients))
    assert error(found, exact) < 1e-12
    assert max(gradient.abs().max().item() for gradient in exact) > 0.1


@pytest.mark.parametrize("hidden", [(3,), (2, 2)])
def test_raiko_and_straight_through_are_biased_elsewhere(hidden):
    x = inputs(1)
    for gradient, read in [("raiko", cross_entropy), ("straight_through", linear)]:
        net = tiny(hidden, gradient=gradient)
        found, exact = (kind(net, x, read) for kind in (expected_gradients, exact_gradients))
        assert error(found[:2], exact[:2]) > 1e-3
        assert error(found[-2:], exact[-2:]) < 1e-12  # the last layer's needs no estimator


def test_raiko_and_straight_through_differ_by_the_slope_of_the_sigmoid():
    net, x = tiny((3,)), inputs(1)
    torch.manual_seed(0)
    raiko = torch.autograd.grad(linear(net(x).logits).sum(), net.linear_layers()[0].bias)[0]
    net.gradient = "straight_through"
    torch.manual_seed(0)
    straight = torch.autograd.grad(linear(net(x).logits).sum(), net.linear_layers()[0].bias)[0]
    p = torch.sigmoid(net.linear_layers()[0](x))[0]
    torch.testing.assert_close(raiko, straight * p * (1 - p))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_pass_and_a_tree_of_one_draw_are_the_same(gradient):
    net, x = tiny((4, 3), gradient=gradient), inputs()
    torch.manual_seed(0)
    plain = net(x).logits
    torch.manual_seed(0)
    drawn = tree(net, x, samples=1).logits
    torch.testing.assert_close(plain, drawn)
    if gradient != "reinforce":  # which a plain pass replaces, as it doesn't know the loss
        weight = net.linear_layers()[0].weight
        first, second = (torch.autograd.grad(out.sum(), weight)[0] for out in (plain, drawn))
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_an_attack_finds_a_gradient_whatever_trains_the_network(gradient):
    torch.manual_seed(0)
    net = tiny((8, 4), gradient=gradient)
    x, y = inputs(), torch.tensor([0, 1, 2, 0])
    assert is_stochastic(net, x)
    with latent_mode(net, "mean"):
        assert not is_stochastic(net, x)
    victim = as_classifier(net, samples=16)
    assert victim(x).shape == (4, 3)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(victim(x).logsumexp(1).sum() - victim(x)[:, 0].sum(), x)
    assert (slope.abs().sum(1) > 0).all()
    moved = FGSM(eps=0.1)(victim, x.detach(), y).x_adv - x.detach()
    assert moved.abs().max().item() == pytest.approx(0.1)


def test_something_may_come_before_the_coins_and_hidden_layers_can_be_tapped():
    front = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    net = BinaryStochasticNet(8, [5], classes=2, front=front)
    x = torch.rand(6, 1, 4, 4)
    net(x).logits.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())
    assert list(tap(net, ["layers.0"])(x).activations) == ["z1", "layers.0"]


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="at least one hidden layer"):
        BinaryStochasticNet(4, [], 2)
    with pytest.raises(ConfigError, match="positive width"):
        BinaryStochasticNet(4, [3, 0], 2)
    with pytest.raises(ConfigError, match="gradient"):
        BinaryStochasticNet(4, [3], 2, gradient="exact")
    with pytest.raises(ConfigError, match="mode must be"):
        BinaryStochasticNet(4, [3], 2, mode="median")
    with pytest.raises(InputError, match="inputs of 4 numbers, got 5"):
        BinaryStochasticNet(4, [3], 2)(torch.rand(2, 5))
    with pytest.raises(ConfigError, match="samples=0"):
        tree(BinaryStochasticNet(4, [3], 2), torch.rand(2, 4), samples=0)
