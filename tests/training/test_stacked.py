"""Many models in one vectorised step: their draws, their copies, and what cannot be stacked."""

import pytest
import torch
from torch import nn

from narrows import AIB, VIB, Bottleneck, CrossEntropy
from narrows.errors import ConfigError
from narrows.models.noise import standard_normal
from narrows.training import Objective, Solo, Stacked


def objective(seed=0, method=None, encoder=None) -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = encoder() if encoder else nn.Linear(4, 3)
        return Objective(Bottleneck(encoder, nn.Linear(3, 2)), method or CrossEntropy())


def aib(**keywords) -> AIB:
    return AIB(**{"beta": 0.1, "inputs": 4, "latent": 3, "hidden": (5,), **keywords})


class Noisy(nn.Module):
    def forward(self, x):
        return standard_normal((3, 2), x)


def noise_of(members, calls: int = 1) -> torch.Tensor:
    drawn = [members.run("predict", torch.zeros(3, 4), shared=True) for _ in range(calls)]
    return torch.stack(drawn, 1)


def test_stacked_members_draw_what_their_own_seed_would_draw_alone():
    seeds = [7, 3, 7, 5]
    stack = Stacked([Objective(Noisy(), CrossEntropy()) for _ in seeds], seeds)
    together = noise_of(stack, calls=2)
    for index, seed in enumerate(seeds):
        alone = noise_of(Solo(Objective(Noisy(), CrossEntropy()), seed), calls=2)
        assert torch.equal(together[index], alone[0])
        assert torch.equal(
            alone[0, 0], torch.randn(3, 2, generator=torch.Generator().manual_seed(seed))
        )
    assert not torch.equal(together[0], together[1])


def test_members_of_one_seed_draw_the_same():
    stack = Stacked([Objective(Noisy(), CrossEntropy()) for _ in range(2)], [4, 4])
    first, second = noise_of(stack)
    assert torch.equal(first, second)


def test_a_member_cut_out_of_a_stack_is_what_was_put_in():
    kept = [objective(seed, aib(beta=0.1 * seed)) for seed in range(3)]
    stack = Stacked(kept, [0, 1, 2])
    for index, original in enumerate(kept):
        cut = stack.member(index)
        for (name, a), b in zip(
            original.state_dict().items(), cut.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"encoder": lambda: nn.Linear(4, 3, bias=False)}, {}, "'model.encoder.bias'"),
        ({"method": aib()}, {"method": aib(steps=2)}, "'method.steps': 1 and 2"),
        ({"method": aib(selected=2)}, {"method": aib(selected=3)}, "'method.selected': 2 and 3"),
        ({"method": VIB(0.1)}, {}, "'method': VIB and CrossEntropy"),
        (
            {"encoder": lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU())},
            {"encoder": lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh())},
            "'model.encoder.1': ReLU and Tanh",
        ),
        (
            {"encoder": lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.1))},
            {"encoder": lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))},
            r"'model.encoder.1.p': 0\.1 and 0\.5",
        ),
        (
            {},
            {"encoder": lambda: nn.Linear(4, 3).requires_grad_(False)},
            "'model.encoder.bias'.*trained: True and .*trained: False",
        ),
    ],
)
def test_members_whose_code_differs_cannot_be_stacked(first, second, message):
    with pytest.raises(ConfigError, match=f"members 0 and 1 differ in {message}"):
        Stacked([objective(**first), objective(**second)], [0, 1])


def test_running_statistics_cannot_be_stacked():
    made = objective(encoder=lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    with pytest.raises(ConfigError, match=r"'model.encoder.1' keeps running statistics"):
        Stacked([made], [0])


@pytest.mark.parametrize(("count", "seeds"), [(2, [0]), (0, [])])
def test_every_member_needs_a_seed(count, seeds):
    with pytest.raises(ConfigError, match=f"{count} models need as many seeds, got {len(seeds)}"):
        Stacked([objective() for _ in range(count)], seeds)
