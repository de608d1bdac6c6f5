"""One step for model and critic; whole epochs are tested in `test_trainer.py`."""

import pytest
import torch

from narrows import AIB, CrossEntropy, LabelSmoothing
from narrows.errors import CheckpointError
from narrows.training import Objective, Solo, Stacked, TrainConfig
from narrows.training.descent import Descent


def objective(kind=AIB, seed=0) -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        method, model, _ = kind.example()
        return Objective(model, method)


def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = AIB.example().batch
    return torch.stack([x] * count), torch.stack([y] * count)


def descent(*objectives: Objective, **config) -> Descent:
    seeds = list(range(len(objectives)))
    members = Stacked(objectives, seeds) if len(seeds) > 1 else Solo(objectives[0], 0)
    return Descent(members, TrainConfig(**config), steps_per_epoch=1)


def test_a_method_without_a_critic_has_one_optimiser():
    assert descent(objective(CrossEntropy)).names("") == {"adam.model"}
    made = descent(objective(), optimiser="sgd")
    assert made.names(".1") == {"sgd.model.1", "adam.critic.1"}


def test_learning_rates_follow_the_schedule():
    made = descent(objective(), learning_rate=0.1, critic_learning_rate=0.2, decay=0.5)
    made.before_epoch(2)
    rates = {role: o.param_groups[0]["lr"] for role, o in made.optimisers.items()}
    assert rates == {"model": 0.025, "critic": 0.05}


def test_one_step_returns_the_parts_of_the_loss_of_each_member():
    made = descent(objective(seed=0), objective(seed=1))
    parts = made.step(*batch(2), 0)
    assert set(parts) == {"loss", "prediction", "donsker_varadhan"}
    assert all(value.shape == (2,) for value in parts.values())


def test_a_step_is_plain_gradient_descent_with_sgd():
    made = descent(objective(LabelSmoothing), optimiser="sgd", learning_rate=0.5)
    by_hand = made.members.member(0)
    x, y = batch(1)
    by_hand.method(by_hand.model, x[0], y[0]).backward()
    made.step(x, y, 0)
    for name, parameter in by_hand.named_parameters():
        moved = made.members.named_tensors()[name][0]
        torch.testing.assert_close(moved, (parameter - 0.5 * parameter.grad).detach())


def test_the_state_is_restored_or_refused():
    first, second = descent(objective()), descent(objective())
    for step in range(2):
        first.step(*batch(1), step)
    state = first.state("")
    second.load_state(state, "")
    loaded = second.state("")
    assert state.keys() == loaded.keys()
    assert all(torch.equal(state[name], loaded[name]) for name in state)
    wrong = {name: torch.zeros(7) for name in state}
    with pytest.raises(CheckpointError, match="the state of Adam does not fit parameter 0"):
        second.load_state(wrong, "")
