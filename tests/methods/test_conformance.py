"""What every method must do: each test runs on the example of every entry of `METHODS`.

A method may describe itself by `has_beta`, `latent`, `needs`, `randomness`, `stackable` and
`couples`; tests here hold it to each of them.
"""

import copy

import pytest
import torch
from torch import nn

from narrows.data import Dataset
from narrows.errors import ConfigError, InputError
from narrows.methods import METHODS, Method, Sizes
from narrows.methods._base import example_batch
from narrows.models import BinaryStochasticNet, Bottleneck
from narrows.models.gaussian import code_width
from narrows.models.noise import SeededNoise, noise_from, noise_of_rows
from narrows.training import Looped, Objective, Processes, Solo, Stacked, TrainConfig, Trainer
from narrows.types import Batch
from scenarios_methods import OPTIONS
from scenarios_training import prototypes

SIZES = Sizes(inputs=20, latent=3, classes=4, hidden=(8, 3))

# Methods for which beta = 0 is plain cross-entropy.
REGULARISERS = [name for name, kind in METHODS.items() if kind.has_beta and kind.latent != "binary"]
WITH_BETA = [name for name, kind in METHODS.items() if kind.has_beta]


def make(name: str, beta: float = 0.1, seed: int = 0) -> Objective:
    """The example of a row: a method, or a method with options."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        method, model, _ = METHODS[plain(name)].example(beta, **OPTIONS.get(name, {}))
        return Objective(model, method)


def plain(name: str) -> str:
    return name.split(",")[0]


@pytest.fixture(params=[*METHODS, *OPTIONS])
def name(request) -> str:
    return request.param


def test_loss_is_finite_and_its_gradient_reaches_every_parameter_of_the_model(name):
    objective = make(name)
    loss = objective.method(objective.model, *example_batch())
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    for label, parameter in objective.model.named_parameters():
        assert parameter.grad is not None, label
        assert parameter.grad.abs().sum() > 0, label


def test_gradients_reach_what_the_method_itself_trains(name):
    objective = make(name)
    critic = {id(parameter) for parameter in objective.method.critic_parameters()}
    objective.method(objective.model, *example_batch()).backward()
    for label, parameter in objective.method.named_parameters():
        if id(parameter) not in critic:
            assert parameter.grad is not None, label
            assert parameter.grad.abs().sum() > 0, label


def test_critic_loss_reaches_the_critic_and_not_the_model(name):
    objective = make(name)
    owned = list(objective.method.critic_parameters())
    assert bool(owned) == (objective.method.critic_steps > 0)
    if not owned:
        with pytest.raises(InputError, match="no critic"):
            objective.method.critic_loss(None, None)
        return
    x, y = example_batch()
    seen = {key: value.detach() for key, value in objective.observe(x, y).items()}
    objective.critic_loss(seen, x, y).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in owned)
    assert all(parameter.grad is None for parameter in objective.model.parameters())


def test_total_is_prediction_plus_weighted_terms(name):
    objective = make(name, beta=0.25)
    x, y = example_batch()
    terms = objective.method.terms(
        objective.method.observe(objective.model, Batch(x, y)), Batch(x, y)
    )
    by_hand = terms.prediction + sum(
        weight * value for value, weight in terms.regularisers.values()
    )
    torch.testing.assert_close(terms.total, by_hand)
    assert set(terms.values()) == {"loss", "prediction", *terms.regularisers}


def test_a_trial_on_the_meta_device_costs_nothing_and_runs(name):
    objective = make(name).to("meta")
    x, y = (part.to("meta") for part in example_batch())
    loss = objective.method(objective.model, x, y)
    assert (loss.shape, loss.device.type) == ((), "meta")
    loss.backward()
    with torch.device("meta"):
        objective.method(objective.model, torch.empty(4, 20), torch.zeros(4).long())


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_under_autocast_the_loss_is_float32_and_nearly_the_same(name, kind):
    objective = make(name)
    x, y = example_batch()
    torch.manual_seed(3)
    exact = objective.method(objective.model, x, y)
    torch.manual_seed(3)
    with torch.autocast("cpu", kind):
        loss = objective.method(objective.model, x, y)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.1, atol=0.02)
    loss.backward()
    for label, parameter in objective.model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), label


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_a_network_of_halves_has_a_loss_in_float32(name, kind):
    objective = make(name).to(kind)
    x, y = example_batch()
    loss = objective.method(objective.model, x.to(kind), y)
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    loss.backward()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_trains_in_a_plain_loop_over_members(name, precision):
    data = prototypes(inputs=20, classes=4)
    config = TrainConfig(epochs=1, batch_size=32, precision=precision)
    trainer = Trainer(Looped([make(name, seed=s) for s in (0, 1)], [0, 1]), data, data, config)
    assert all(value is not None for value in trainer.run_epoch().losses["loss"])


# Compiling a method takes seconds, so that in the default run only one of each kind is.
COMPILED = [
    name if name in ("vib", "hbar", "joint_imb") else pytest.param(name, marks=pytest.mark.slow)
    for name in METHODS
]


@pytest.mark.filterwarnings("ignore")  # PyTorch's compiler does itself what PyTorch warns of
@pytest.mark.parametrize("compiled", ["model", "method"])
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_it_has_the_loss_that_it_has_as_written(name, compiled):
    torch.compiler.reset()
    objective = make(name)
    x, y = example_batch()
    torch.manual_seed(3)
    exact = objective.method(objective.model, x, y)
    parts = {"model": objective.model, "method": objective.method}
    parts[compiled] = torch.compile(parts[compiled], backend="eager")
    for _ in range(2):  # what is compiled in the first pass is used in the second
        torch.manual_seed(3)
        loss = parts["method"](parts["model"], x, y)
        torch.testing.assert_close(loss, exact)
        loss.backward()


LABELS = {
    "uint8": lambda y: y.to(torch.uint8),
    "int32": lambda y: y.int(),
    "NumPy": lambda y: y.numpy().astype("uint16"),
    "list": lambda y: y.tolist(),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_integer_type_are_the_same_labels(name, kind):
    objective = make(name)
    x, y = example_batch()
    torch.manual_seed(3)
    exact = objective.method(objective.model, x, y)
    torch.manual_seed(3)
    assert torch.equal(objective.method(objective.model, x.numpy(), LABELS[kind](y)), exact)


BAD_LABELS = {
    "[n, 1]": (lambda y: y[:, None], r"labels must be integers \[32\], .*squeeze\(1\)"),
    "one-hot": (lambda y: nn.functional.one_hot(y, 4), r"write labels.argmax\(1\)"),
    "float": (lambda y: y.float(), r"write labels.long\(\)"),
    "ignored": (lambda y: torch.full_like(y, -100), "at least 0, got -100; leave out"),
    "one too many": (lambda y: y + 1, r"must lie in 0..3, got 1..4"),
    "too short": (lambda y: y[:-1], "each of 32 samples, got 31"),
    "scalar": (lambda y: 3, "labels must be"),
}


@pytest.mark.parametrize("kind", BAD_LABELS)
def test_labels_that_are_none_are_refused_with_what_to_write(name, kind):
    change, message = BAD_LABELS[kind]
    objective = make(name)
    x, y = example_batch()
    with pytest.raises(InputError, match=message):
        objective.method(objective.model, x, change(y))
    assert not objective.model._forward_hooks


def test_inputs_that_hold_nan_or_are_none_at_all_are_refused(name):
    objective = make(name)
    x, y = example_batch()
    x[3, 4] = torch.nan
    with pytest.raises(InputError, match="inputs hold NaN or infinity"):
        objective.method(objective.model, x, y)
    with pytest.raises(InputError, match="at least one"):
        objective.method(objective.model, x[:0], y[:0])


@pytest.mark.parametrize("name", REGULARISERS)
def test_beta_zero_is_plain_cross_entropy_on_the_same_network(name):
    objective = make(name, beta=0.0)
    x, y = example_batch()
    torch.manual_seed(3)
    loss = objective.method(objective.model, x, y)
    torch.manual_seed(3)
    plain_loss = METHODS["cross_entropy"]()(objective.model, x, y)
    torch.testing.assert_close(loss, plain_loss)


@pytest.mark.parametrize("name", WITH_BETA)
@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf")])
def test_a_beta_that_is_no_weight_is_refused(name, beta):
    with pytest.raises(ConfigError, match="beta must be finite and at least 0"):
        METHODS[name].build(beta, SIZES)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in WITH_BETA])
def test_a_method_without_a_beta_refuses_one(name):
    with pytest.raises(ConfigError, match=r"beta must be 0, got 0\.1"):
        METHODS[name].build(0.1, SIZES)


def test_state_survives_a_round_trip(name):
    trained, fresh = make(name, seed=0), make(name, seed=1)
    x, y = example_batch()
    trainer_of(trained).run_epoch()
    fresh.load_state_dict(trained.state_dict())
    for objective in (trained, fresh):
        torch.manual_seed(0)
        objective.result = objective.method(objective.model, x, y)
    torch.testing.assert_close(trained.result, fresh.result, rtol=0, atol=0)


def trainer_of(objective: Objective, seed: int = 0) -> Trainer:
    data = prototypes(inputs=20, classes=4)
    return Trainer(Solo(objective, seed), data, data, TrainConfig(epochs=2, batch_size=32))


def test_one_seed_gives_one_result(name):
    first, second = make(name), make(name)
    for objective in (first, second):
        trainer_of(objective).run_epoch()
    for (label, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), label


class InFloat64(Dataset):
    """Adam divides by the size of a gradient, so in float32 rounding shows where it is near 0."""

    def batch(self, rows):
        x, y = super().batch(rows)
        return Batch(x.double(), y)


def test_a_stack_trains_each_member_as_it_would_train_alone(name):
    kind = METHODS[plain(name)]
    betas = [0.0, 0.01, 0.1] if kind.has_beta else [0.0]
    grid = [(beta, seed) for beta in betas for seed in (0, 5)]
    if not kind.stackable:
        with pytest.raises(ConfigError):
            Stacked([make(name, *member) for member in grid], [seed for _, seed in grid])
        return
    in_float32 = prototypes(inputs=20, classes=4)
    data = InFloat64(in_float32.name, in_float32.x, in_float32.y, in_float32.classes)
    config = TrainConfig(epochs=2, batch_size=32, averaging=0.9)
    objectives = [make(name, *member).double() for member in grid]
    stacked = Trainer(Stacked(objectives, [seed for _, seed in grid]), data, data, config)
    solos = [
        Trainer(Solo(o, seed), data, data, config)
        for o, (_, seed) in zip(objectives, grid, strict=True)
    ]
    for trainer in (stacked, *solos):
        trainer.run_epoch()
        trainer.run_epoch()
    together = stacked.members.named_tensors()
    for index, solo in enumerate(solos):
        for label, alone in solo.members.named_tensors().items():
            torch.testing.assert_close(together[label][index], alone[0], rtol=1e-8, atol=1e-10)
        assert stacked.history[-1].losses["loss"][index] == pytest.approx(
            solo.history[-1].losses["loss"][0], rel=1e-10
        )


def test_the_loss_is_a_mean_over_inputs_where_the_method_couples_none(name):
    """So several processes can share a batch; for the others it must say what is coupled."""
    objective, (x, y) = make(name), example_batch()

    def total(rows: slice) -> torch.Tensor:
        noise = SeededNoise(torch.Generator().manual_seed(0))
        with noise_from(noise), noise_of_rows(rows, len(y)):
            return objective.terms(objective.observe(x[rows], y[rows]), x[rows], y[rows])["total"]

    shares = [Processes(rank, 3).share(len(y)) for rank in range(3)]
    shared = sum(share.weight * total(share.rows) for share in shares)
    same = torch.isclose(shared, total(slice(None)), rtol=1e-5)
    assert same == (not objective.method.couples)


def test_repr_builds_the_method_again(name):
    method = make(name).method
    again = eval(repr(method), {kind.__name__: kind for kind in METHODS.values()})
    assert repr(again) == repr(method)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in method.state_dict().items()
    }


def networks() -> dict[str, nn.Module]:
    """What a network may have, in words, and one that has it and nothing that follows."""
    return {
        "any classifier": nn.Linear(20, 4),
        "hidden layers": nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 4)),
        "a latent": Bottleneck(nn.Linear(20, 3), nn.Linear(3, 4)),
        "a Gaussian latent": Bottleneck(nn.Linear(20, 6), nn.Linear(3, 4), latent="gaussian"),
        "a Gaussian latent, its noise equal for all inputs": Bottleneck(
            nn.Linear(20, 3), nn.Linear(3, 4), latent="unit"
        ),
        "binary stochastic layers": BinaryStochasticNet(20, SIZES.hidden, 4),
    }


def works(method: Method, model: nn.Module) -> bool:
    try:
        method(model, *example_batch()).backward()
    except InputError:
        return False
    return True


@pytest.mark.parametrize("name", METHODS)
def test_a_method_needs_what_it_says_and_no_more(name):
    method = METHODS[name].build(0.1 if METHODS[name].has_beta else 0.0, SIZES)
    needed = next(words for words, model in networks().items() if works(method, model))
    assert method.needs.startswith(needed)
    assert ("critic" in method.needs) == (method.critic_steps > 0)


def test_the_loss_is_random_where_the_method_says_so(name):
    objective = make(name)
    losses = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        losses.append(objective.method(objective.model, *example_batch()).item())
    assert (losses[0] != losses[1]) == bool(objective.method.randomness)


def test_a_method_leaves_the_model_as_it_was(name):
    objective = make(name)
    before = copy.deepcopy(objective.model.state_dict())
    objective.method(objective.model, *example_batch())
    assert all(
        torch.equal(a, b)
        for a, b in zip(before.values(), objective.model.state_dict().values(), strict=True)
    )
    assert objective.model.training


@pytest.mark.parametrize(
    "name",
    [name for name, kind in METHODS.items() if "latent" in kind.needs or "binary" in kind.needs],
)
def test_a_model_without_a_latent_is_told_what_to_do(name):
    method = METHODS[name].build(0.1 if METHODS[name].has_beta else 0.0, SIZES)
    with pytest.raises(InputError, match="Bottleneck"):
        method(nn.Linear(20, 4), *example_batch())


@pytest.mark.parametrize("name", REGULARISERS)
def test_any_encoder_and_decoder_will_do(name):
    kind = METHODS[name]
    width = code_width(kind.latent, 3)
    encoder = nn.Sequential(
        nn.Unflatten(1, (1, 4, 5)),
        nn.Conv2d(1, 2, 3),
        nn.Flatten(),
        nn.Tanh(),
        nn.Linear(12, width),
    )
    model = Bottleneck(encoder, nn.Linear(3, 4), latent=kind.latent)
    kind.build(0.1, SIZES)(model, *example_batch()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
