"""A loop over members: each what `Solo` makes of it, whatever layers it has."""

import pytest
import torch
from torch import nn

from narrows import AIB, VIB, Bottleneck
from narrows.data import Dataset
from narrows.errors import CheckpointError, ConfigError
from narrows.methods.adversarial import WRAPPERS
from narrows.training import Looped, Objective, Solo, Stacked, TrainConfig, Trainer, accuracies, fit
from narrows.types import Batch
from scenarios_training import prototypes

DATA = prototypes(n=96)
GRID = [(0.0, 0), (0.1, 0), (0.1, 5)]
SEEDS = [seed for _, seed in GRID]
CONFIG = TrainConfig(epochs=3, batch_size=32, averaging=0.9)


class InFloat64(Dataset):
    def batch(self, rows):
        x, y = super().batch(rows)
        return Batch(x.double(), y)


def objective(beta: float, seed: int, *, norm: bool, method: str = "vib") -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        between = nn.BatchNorm1d(8) if norm else nn.Identity()
        width = 6 if method == "vib" else 3
        encoder = nn.Sequential(nn.Linear(20, 8), between, nn.ReLU(), nn.Linear(8, width))
        latent = "gaussian" if method == "vib" else "deterministic"
        model = Bottleneck(encoder, nn.Linear(3, 4), latent=latent)
        made = VIB(beta) if method == "vib" else AIB(beta, inputs=20, latent=3, hidden=(5,))
        return Objective(model, made)


def objectives(**keywords) -> list[Objective]:
    return [objective(beta, seed, **keywords) for beta, seed in GRID]


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("method", ["vib", "aib"])
@pytest.mark.parametrize("wrapper", [None, "trades"])
def test_each_member_ends_where_solo_leaves_it_to_the_last_bit(norm, method, wrapper):
    def made() -> list[Objective]:
        found = objectives(norm=norm, method=method)
        for one in found:
            if wrapper:
                one.method = WRAPPERS[wrapper](one.method, eps=0.05, steps=2)
        return found

    looped = fit(Looped(made(), SEEDS), DATA, DATA, CONFIG)
    together = looped.members.named_tensors()
    best = {k: v.clone() for k, v in looped.best_members().named_tensors().items()}
    for index, (one, seed) in enumerate(zip(made(), SEEDS, strict=True)):
        solo = fit(Solo(one, seed), DATA, DATA, CONFIG)
        for name, alone in solo.members.named_tensors().items():
            assert torch.equal(together[name][index], alone[0]), name
        for name, alone in solo.best_members().named_tensors().items():
            assert torch.equal(best[name][index], alone[0]), name
        for ours, its in zip(looped.history, solo.history, strict=True):
            assert [values[index] for values in ours.losses.values()] == [
                values[0] for values in its.losses.values()
            ]


@pytest.mark.parametrize("method", ["vib", "aib"])
def test_in_float64_a_loop_is_a_stack(method):
    data = InFloat64(DATA.name, DATA.x, DATA.y, DATA.classes)
    ends = []
    for kind in (Looped, Stacked):
        made = [one.double() for one in objectives(norm=False, method=method)]
        running = Trainer(kind(made, SEEDS), data, data, CONFIG)
        for _ in range(3):
            running.run_epoch()
        ends.append(running.members.named_tensors())
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=1e-8, atol=1e-10, equal_nan=True)


def test_its_stages_and_accuracies_are_those_of_a_stack():
    looped, stacked = (kind(objectives(norm=False), SEEDS) for kind in (Looped, Stacked))
    x, y = DATA.batch(torch.arange(24).view(3, 8))
    parts = [m.run("terms", m.run("observe", x, y), x, y) for m in (looped, stacked)]
    assert parts[0].keys() == parts[1].keys()
    for name, value in parts[0].items():
        torch.testing.assert_close(value, parts[1][name])
    assert torch.equal(accuracies(looped, DATA), accuracies(stacked, DATA))


def test_a_member_taken_out_is_what_was_put_in():
    made = objectives(norm=True)
    looped = Looped(made, SEEDS)
    for index, original in enumerate(made):
        cut = looped.member(index)
        for (name, a), b in zip(
            original.state_dict().items(), cut.state_dict().values(), strict=True
        ):
            assert torch.equal(a, b), name
    one, whole = (len(list(m.parameters(critic=False))) for m in (Solo(made[0], 0), looped))
    assert whole == 3 * one
    assert looped.parameters(critic=True) == []


def test_values_are_loaded_into_every_member_or_none():
    looped = Looped(objectives(norm=True), SEEDS)
    before = looped.named_tensors()
    other = {name: tensor + 1 for name, tensor in before.items()}
    with pytest.raises(CheckpointError, match=r"'model\.decoder\.bias' is missing in"):
        looped.load({k: v for k, v in other.items() if k != "model.decoder.bias"})
    assert all(torch.equal(v, before[k]) for k, v in looped.named_tensors().items())
    looped.load(other)
    assert all(torch.equal(v, other[k]) for k, v in looped.named_tensors().items())


@pytest.mark.parametrize(("count", "seeds"), [(2, [0]), (0, [])])
def test_every_member_needs_a_seed(count, seeds):
    made = objectives(norm=True)[:count]
    with pytest.raises(ConfigError, match=f"{count} models need as many seeds, got {len(seeds)}"):
        Looped(made, seeds)
