import pytest
import torch
from torch import nn

from narrows.errors import CheckpointError
from narrows.training.state import (
    below,
    load_optimiser,
    load_random_states,
    optimiser_state,
    prefixed,
    random_states,
)


def test_prefixes_come_off_again():
    tensors = {"a": torch.ones(1), "b/c": torch.zeros(1)}
    mixed = prefixed("run", tensors) | prefixed("runner", tensors)
    assert list(mixed) == ["run/a", "run/b/c", "runner/a", "runner/b/c"]
    assert below("run", mixed) == tensors


def trained(steps: int, model: nn.Module | None = None) -> tuple[nn.Module, torch.optim.Adam]:
    torch.manual_seed(0)
    model = model or nn.Linear(3, 2)
    optimiser = torch.optim.Adam(model.parameters(), 0.1, fused=True)
    for _ in range(steps):
        model(torch.ones(4, 3)).square().sum().backward()
        optimiser.step()
    return model, optimiser


def test_adam_goes_on_where_it_stopped():
    model, optimiser = trained(3)
    fresh = nn.Linear(3, 2)
    fresh.load_state_dict(model.state_dict())
    other = torch.optim.Adam(fresh.parameters(), 0.1, fused=True)
    load_optimiser(
        other, {name: tensor.clone() for name, tensor in optimiser_state(optimiser).items()}
    )
    for net, stepping in ((model, optimiser), (fresh, other)):
        stepping.zero_grad()
        net(torch.ones(4, 3)).square().sum().backward()
        stepping.step()
    assert torch.equal(model.weight, fresh.weight)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("0.exp_avg"),
        lambda state: state.update({"0.exp_avg": torch.zeros(1, 2, 3)}),
        lambda state: state.update({"1.more": torch.zeros(2)}),
    ],
)
def test_moments_that_do_not_fit_are_refused(change):
    _, optimiser = trained(1)
    state = optimiser_state(optimiser)
    change(state)
    with pytest.raises(CheckpointError, match=r"state of Adam does not fit parameter [01]"):
        load_optimiser(trained(0)[1], state)


def test_every_generator_goes_on_where_it_stopped():
    device = torch.device("cpu")
    generators = {"noise": [torch.Generator().manual_seed(seed) for seed in (1, 2)]}
    saved = random_states(generators, device)
    assert set(saved) == {"noise/0", "noise/1", "global/cpu"}
    expected = [torch.rand(3, generator=g) for g in generators["noise"]] + [torch.rand(3)]
    load_random_states(generators, device, saved)
    again = [torch.rand(3, generator=g) for g in generators["noise"]] + [torch.rand(3)]
    assert all(torch.equal(a, b) for a, b in zip(expected, again, strict=True))


def test_random_states_that_do_not_fit_are_refused():
    device = torch.device("cpu")
    generators = {"noise": [torch.Generator()]}
    saved = random_states(generators, device)
    with pytest.raises(CheckpointError, match="'noise/1' does not fit"):
        load_random_states(generators, device, {**saved, "noise/1": saved["noise/0"]})
    with pytest.raises(CheckpointError, match="'global/cpu' does not fit"):
        load_random_states(generators, device, {"noise/0": saved["noise/0"]})
