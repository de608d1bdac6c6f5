"""What adversarial training must do around the example of every method."""

import copy

import pytest
import torch
from torch import nn

from narrows.data import Dataset
from narrows.errors import ConfigError
from narrows.methods import METHODS
from narrows.methods._base import example_batch
from narrows.methods.adversarial import WRAPPERS
from narrows.models.noise import NoiseSource, noise_from
from narrows.training import Objective, Solo, Stacked, TrainConfig, Trainer
from narrows.types import Batch
from scenarios_methods import OPTIONS
from scenarios_training import prototypes

EPS = 0.05


def make(wrapper: str, name: str, seed=0, beta=0.1, **options) -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inner = METHODS[name.split(",")[0]].example(beta, **OPTIONS.get(name, {}))
        case = WRAPPERS[wrapper].example(inner=inner, eps=EPS, **options)
        return Objective(case.model, case.method)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=list(WRAPPERS))
def wrapper(request) -> str:
    return request.param


@pytest.fixture(params=[*METHODS, *OPTIONS])
def name(request) -> str:
    return request.param


@pytest.mark.parametrize("regularise", ["clean", "adversarial", "as_coded"])
def test_gradients_reach_all_that_is_trained(wrapper, name, regularise):
    objective = make(wrapper, name, regularise=regularise)
    critic = {id(parameter) for parameter in objective.method.critic_parameters()}
    loss = objective.method(objective.model, *example_batch())
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    for label, parameter in objective.named_parameters():
        if id(parameter) not in critic:
            assert parameter.grad is not None, label
            assert parameter.grad.abs().sum() > 0, label


def test_a_trial_on_the_meta_device_runs(wrapper, name):
    objective = make(wrapper, name).to("meta")
    x, y = (part.to("meta") for part in example_batch())
    objective.method(objective.model, x, y).backward()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_it_runs_under_autocast_and_in_half_precision(wrapper, name, kind):
    x, y = example_batch()
    objective = make(wrapper, name)
    with torch.autocast("cpu", kind):
        loss = objective.method(objective.model, x, y)
    halves = make(wrapper, name).to(kind)
    for value in (loss, halves.method(halves.model, x.to(kind), y)):
        assert value.dtype == torch.float32
        assert torch.isfinite(value)


def test_the_attack_stays_in_the_ball_and_raises_its_objective(wrapper, name):
    objective = make(wrapper, name)
    model, method, data = objective.model, objective.method, Batch(*example_batch())
    with torch.no_grad():
        data.x[0], data.x[1] = 0.0, 1.0
    before = copy.deepcopy(model.state_dict())
    x_adv = method.attack(model, data)
    assert not x_adv.requires_grad
    assert (x_adv - data.x).abs().max() <= EPS + 1e-6
    assert 0 <= x_adv.min() <= x_adv.max() <= 1
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    with torch.no_grad():
        model.mode = "mean"
        raised = method.objective(model, data)
        assert raised(model(x_adv).logits) > raised(model(data.x).logits)


class Repeated(NoiseSource):
    """The same numbers for the same shape."""

    def normal(self, shape, like):
        generator = torch.Generator().manual_seed(0)
        return torch.randn(shape, generator=generator, dtype=like.dtype)


def test_with_no_room_the_wrapped_terms_are_the_wrapped_methods_own(wrapper, name):
    objective = make(wrapper, name)
    objective.method.eps, data = 0.0, Batch(*example_batch())
    objective.model.mode = "mean"
    objective.model.eval()  # no dropout
    inner = objective.method.method
    with noise_from(Repeated()):
        own = objective.method.terms(objective.method.observe(objective.model, data), data)
        wrapped = inner.terms(inner.observe(objective.model, data), data)
    for label, term in wrapped.regularisers.items():
        torch.testing.assert_close(own.regularisers[label].value, term.value)
        torch.testing.assert_close(own.regularisers[label].weight, term.weight)
    if wrapper != "mart":
        torch.testing.assert_close(own.prediction, wrapped.prediction)


class InFloat64(Dataset):
    def batch(self, rows):
        x, y = super().batch(rows)
        return Batch(x.double(), y)


def test_a_stack_trains_each_member_as_it_would_train_alone(wrapper, name):
    grid = [(0.0, 0), (0.1, 5)]
    plain = prototypes(inputs=20, classes=4, n=64)
    data = InFloat64(plain.name, plain.x, plain.y, plain.classes)
    config = TrainConfig(epochs=2, batch_size=32)
    objectives = [make(wrapper, name, seed, beta).double() for beta, seed in grid]
    seeds = [seed for _, seed in grid]
    stacked = Trainer(Stacked(objectives, seeds), data, data, config)
    solos = [
        Trainer(Solo(o, seed), data, data, config)
        for o, seed in zip(objectives, seeds, strict=True)
    ]
    for trainer in (stacked, *solos):
        trainer.run_epoch()
    together = stacked.members.named_tensors()
    for index, solo in enumerate(solos):
        for label, alone in solo.members.named_tensors().items():
            torch.testing.assert_close(together[label][index], alone[0], rtol=1e-8, atol=1e-10)


def test_repr_builds_it_again(wrapper, name):
    method = make(wrapper, name).method
    known = {kind.__name__: kind for kind in [*METHODS.values(), *WRAPPERS.values()]}
    assert repr(eval(repr(method), known)) == repr(method)


def test_state_survives_a_round_trip(wrapper, name):
    trained, fresh = make(wrapper, name, seed=0), make(wrapper, name, seed=1)
    data = prototypes(inputs=20, classes=4, n=32)
    Trainer(Solo(trained, 0), data, data, TrainConfig(epochs=1, batch_size=32)).run_epoch()
    fresh.load_state_dict(trained.state_dict())
    losses = []
    for objective in (trained, fresh):
        torch.manual_seed(0)
        losses.append(objective.method(objective.model, *example_batch()))
    assert torch.equal(*losses)


class WithNorm(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("inner", ["cross_entropy", "hbar"])
def test_running_statistics_move_once_a_step(wrapper, mode, inner):
    torch.manual_seed(0)
    model = WithNorm()
    case = WRAPPERS[wrapper].example(inner=METHODS[inner].example(), eps=0.3, mode=mode)
    method = case.method
    method(model, *example_batch())
    norm = model[1]
    assert norm.num_batches_tracked == 1
    assert norm.track_running_stats
    assert norm.training


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"eps": 8.0}, r"eps in \[0, 1\].*got eps=8.0"),
        ({"steps": 0}, "steps=0"),
        ({"step_size": float("nan")}, "step_size=nan"),
        ({"mode": "evil"}, "got 'evil'"),
        ({"regularise": "both"}, "got 'eval' and 'both'"),
    ],
)
def test_numbers_and_words_out_of_range_are_refused(wrapper, bad, message):
    with pytest.raises(ConfigError, match=message):
        WRAPPERS[wrapper](METHODS["cross_entropy"](), **bad)


def test_adversarial_training_is_not_wrapped_twice(wrapper):
    once = WRAPPERS[wrapper](METHODS["cross_entropy"]())
    with pytest.raises(ConfigError, match="adversarial training already"):
        WRAPPERS["trades"](once)
