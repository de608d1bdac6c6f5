"""AIB against slow twins written from eq. 6 and Algorithm 1, and against a known information."""

import math

import pytest
import torch
from torch import nn

from narrows import AIB, Bottleneck, tap
from narrows.errors import ConfigError, InputError
from narrows.methods.aib import Critic, keep_largest
from narrows.types import Batch, Latent, ModelOutput


def net(inputs=6, latent=3) -> Bottleneck:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, latent))
        return Bottleneck(encoder, nn.Linear(latent, 2)).double()


def make(**keywords) -> AIB:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return AIB(**{"beta": 0.5, "inputs": 6, "latent": 3, "hidden": (5, 4), **keywords}).double()


def batch(n=12, inputs=6) -> Batch:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(n, inputs, generator=generator, dtype=torch.float64)
    return Batch(x, (x[:, 0] > x[:, 1]).long())


def slow_critic(critic: Critic, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """T of one pair, layer by layer on x and z side by side."""
    weight = torch.cat([critic.read_x[0].weight, critic.read_z.weight], 1)
    hidden = torch.relu(weight @ torch.cat([x, z]) + critic.read_x[0].bias)
    for layer in critic.head[1:-1]:
        hidden = layer(hidden)
    return critic.head[-1](hidden).squeeze()


def slow_bound(critic: Critic, x: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """E_joint T and E_marginal exp T, one pair after another; z_i meets the x before it."""
    n = len(x)
    joint = sum(slow_critic(critic, x[i], z[i]) for i in range(n)) / n
    partition = sum(slow_critic(critic, x[i - 1], z[i]).exp() for i in range(n)) / n
    return joint, partition


def gradients(critic: Critic, value: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(value, list(critic.parameters()), retain_graph=True))


def test_the_bound_is_that_of_donsker_and_varadhan_pair_by_pair():
    model, method, data = net(), make(selected=6), batch()
    output = method.observe(model, data)
    joint, partition = slow_bound(method.critic, data.x, output.latent.z)
    value, _ = method.regulariser(output, data)["donsker_varadhan"]
    torch.testing.assert_close(value, joint - partition.log())


@pytest.mark.parametrize(("only_positive", "weights"), [(True, (0.5, 0.0)), (False, (0.5, 0.5))])
def test_a_bound_below_zero_is_shown_but_not_followed_unless_asked(only_positive, weights):
    model, method, data = net(), make(selected=6, only_positive=only_positive), batch()
    output = method.observe(model, data)
    head = method.critic.head[-1]
    seen = []
    for _ in range(2):
        seen.append(method.regulariser(output, data)["donsker_varadhan"])
        with torch.no_grad():  # T -> -T turns a good critic into a bad one
            head.weight.neg_()
            head.bias.neg_()
    seen.sort(key=lambda term: -term.value.item())
    assert seen[0].value > 0 > seen[1].value
    assert tuple(float(term.weight) for term in seen) == weights


def test_no_marginal_pair_is_a_joint_one():
    critic = make().critic
    x, z = torch.eye(6).double(), torch.arange(18.0).double().view(6, 3)
    joint, marginal = critic(x, z)
    for i in range(6):
        torch.testing.assert_close(joint[i], slow_critic(critic, x[i], z[i]))
        torch.testing.assert_close(marginal[i], slow_critic(critic, x[i - 1], z[i]))


def test_the_encoder_descends_the_bound_and_the_critic_does_not_move_with_it():
    model, method, data = net(), make(selected=6, only_positive=False), batch()
    loss = method(model, *data)
    joint, partition = slow_bound(method.critic, data.x, model(data.x).latent.z)
    nll = nn.functional.cross_entropy(model(data.x).logits, data.y)
    by_hand = nll + 0.5 * (joint - partition.log())
    torch.testing.assert_close(loss, by_hand)
    own, slow = (torch.autograd.grad(v, list(model.parameters())) for v in (loss, by_hand))
    for a, b in zip(own, slow, strict=True):
        torch.testing.assert_close(a, b)


def critic_gradient(method: AIB, output, data: Batch) -> list[torch.Tensor]:
    return gradients(method.critic, method.critic_loss(output, data))


def test_without_averaging_the_critic_ascends_exactly_the_bound():
    model, method, data = net(), make(selected=6, averaging=1.0), batch()
    output = method.observe(model, data)
    joint, partition = slow_bound(method.critic, data.x, output.latent.z)
    for _ in range(2):
        own = critic_gradient(method, output, data)
        for a, b in zip(own, gradients(method.critic, partition.log() - joint), strict=True):
            torch.testing.assert_close(a, b)


def test_with_averaging_the_gradient_divides_by_the_moving_average():
    model, method, data = net(), make(selected=6, averaging=0.1), batch()
    average = None
    for step in range(4):
        with torch.no_grad():
            for parameter in method.critic.parameters():
                parameter.mul_(1.2)  # as training would, so that the partition moves
        shifted = Batch(data.x.roll(step, 1), data.y)
        output = method.observe(model, shifted)
        joint, partition = slow_bound(method.critic, shifted.x, output.latent.z)
        new = partition.item()
        average = new if average is None else 0.9 * average + 0.1 * new
        own = critic_gradient(method, output, shifted)
        slow = gradients(method.critic, partition / average - joint)
        for a, b in zip(own, slow, strict=True):
            torch.testing.assert_close(a, b)
        assert method.log_partition.item() == pytest.approx(math.log(average), rel=1e-12)


@pytest.mark.parametrize("averaging", [0.01, 0.5, 1.0])
def test_the_average_survives_values_that_overflow(averaging):
    model, method, data = net(), make(selected=6, averaging=averaging), batch()
    with torch.no_grad():
        method.critic.head[-1].weight.mul_(1e6)
    output = method.observe(model, data)
    for _ in range(2):
        loss = method.critic_loss(output, data)
        assert torch.isfinite(loss)
        assert all(torch.isfinite(g).all() for g in gradients(method.critic, loss))


@pytest.mark.parametrize("selected", [1, 2, 5])
def test_the_critic_sees_the_inputs_with_the_largest_gradient_of_the_code(selected):
    model, method, data = net(), make(selected=selected), batch()
    x = data.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.encoder(x).sum(), x)
    expected = torch.zeros_like(data.x)
    for row in range(len(x)):
        for column in gradient[row].abs().argsort(descending=True)[:selected]:
            expected[row, column] = data.x[row, column]
    seen = method.observe(model, data).activations["aib.selected_inputs"]
    assert torch.equal(seen, expected)
    with torch.no_grad():  # where torch.func takes the gradient
        again = method.observe(model, data).activations["aib.selected_inputs"]
    assert torch.equal(again, expected)


def test_images_keep_their_shape_when_features_are_selected():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    score = torch.tensor([[[[-0.5, 0.1], [0.2, -0.9]]]])
    assert keep_largest(x, score, 2).tolist() == [[[[1.0, 0.0], [0.0, 4.0]]]]


def test_by_default_a_quarter_of_the_inputs_is_seen_but_at_least_sixteen():
    chosen = [AIB(0.1, inputs, 2).selected for inputs in (5, 16, 40, 784)]
    assert chosen == [5, 16, 16, 196]


class Channel(nn.Module):
    """z = rho x + sqrt(1 - rho^2) noise, for standard normal x: I(X;Z) is known."""

    def __init__(self, rho: float):
        super().__init__()
        self.rho = rho

    def forward(self, x):
        z = self.rho * x + (1 - self.rho**2) ** 0.5 * torch.randn_like(x)
        return ModelOutput(x, Latent(z, z))


def test_a_trained_critic_finds_the_information_of_a_gaussian_channel():
    torch.manual_seed(0)
    true = 2 * 0.5  # two dimensions of 0.5 nats each
    model = Channel(rho=math.sqrt(1 - math.exp(-1)))
    method = AIB(1.0, inputs=2, latent=2, hidden=(32, 32))
    optimiser = torch.optim.Adam(method.critic_parameters(), 3e-3)
    y = torch.zeros(256, dtype=torch.long)
    for _ in range(500):
        method.critic_step(model, torch.randn(256, 2), y, optimiser)
    x = torch.randn(40_000, 2)
    data = Batch(x, torch.zeros(len(x), dtype=torch.long))
    with torch.no_grad():
        found = method.regulariser(method.observe(model, data), data)["donsker_varadhan"].value
    assert 0.85 * true < found.item() < 1.02 * true


def test_a_critic_step_trains_the_critic_and_nothing_else():
    model, method, data = net(), make(), batch()
    before = [p.clone() for p in model.parameters()]
    critic_before = [p.clone() for p in method.critic_parameters()]
    optimiser = torch.optim.Adam(method.critic_parameters(), 1e-2)
    loss = method.critic_step(model, *data, optimiser)
    assert loss.shape == ()
    assert not loss.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    moved = zip(critic_before, method.critic_parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in moved)


def test_a_training_loop_of_ones_own_learns_and_compresses():
    values = {}
    for beta in (0.0, 3.0):
        torch.manual_seed(0)
        model, method, data = net(), make(beta=beta, selected=6, hidden=(16,)), batch(64)
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        critic = torch.optim.Adam(method.critic_parameters(), 1e-2)
        for _ in range(200):
            method.critic_step(model, *data, critic)
            optimiser.zero_grad()
            method(model, *data).backward()
            optimiser.step()
        accuracy = (model(data.x).logits.argmax(1) == data.y).double().mean().item()
        output = method.observe(model, data)
        values[beta] = method.regulariser(output, data)["donsker_varadhan"].value.item(), accuracy
    assert values[0.0][1] > 0.95
    assert values[3.0][0] < 0.5 * values[0.0][0]


@pytest.mark.parametrize("mutating", [nn.BatchNorm1d, nn.utils.parametrizations.spectral_norm])
def test_any_network_will_do_where_a_layer_is_tapped(mutating):
    first = nn.Linear(6, 3)
    layers = [first, mutating(3)] if mutating is nn.BatchNorm1d else [mutating(first)]
    own = nn.Sequential(*layers, nn.ReLU(inplace=True), nn.Linear(3, 2)).double()
    model, method, data = tap(own, [], latent="0"), make(selected=2), batch()
    critic = torch.optim.Adam(method.critic_parameters(), 1e-2)
    method.critic_step(model, *data, critic)
    method(model, *data).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in first.parameters())


def test_the_loss_can_be_differentiated_in_the_input_too():
    model, method, data = net(), make(selected=3), batch()
    x = data.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(method(model, x, data.y), x)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"averaging": 0.0}, "averaging=0.0"),
        ({"averaging": 1.5}, "averaging=1.5"),
        ({"averaging": math.nan}, "averaging=nan"),
        ({"hidden": ()}, r"hidden=\(\)"),
        ({"hidden": (4, 0)}, "positive widths"),
        ({"selected": 0}, r"selected must lie in 1..6 \(the inputs\), got 0"),
        ({"selected": 7}, "got 7"),
    ],
)
def test_numbers_out_of_range_are_refused(bad, message):
    with pytest.raises(ConfigError, match=message):
        make(**bad)


def test_codes_and_batches_that_do_not_fit_are_refused():
    model, method, (x, y) = net(), make(), batch()
    model.latent, model.samples = "gaussian", 4
    model.encoder, model.decoder = nn.Linear(6, 6).double(), nn.Linear(3, 2).double()
    with pytest.raises(InputError, match=r"one code \[batch, 3\] an input, got \(4, 12, 3\)"):
        method(model, x, y)
    with pytest.raises(InputError, match="6 inputs and codes of 3, got 6 and 2"):
        method(net(latent=2), x, y)
    with pytest.raises(InputError, match="6 inputs and codes of 3, got 9 and 3"):
        method(net(inputs=9), *batch(inputs=9))
    with pytest.raises(InputError, match="at least two"):
        method(net(), x[:1], y[:1])
