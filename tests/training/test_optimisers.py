"""Optimisers against torch's own optimisers in a plain loop, alone and in a stack."""

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax

from narrows import VIB, Bottleneck
from narrows.data import Dataset
from narrows.models.noise import SeededNoise, noise_from
from narrows.training import Looped, Objective, Stacked, TrainConfig, Trainer
from narrows.training.optimisers import clip_gradients
from narrows.types import Batch
from scenarios_training import prototypes


class InFloat64(Dataset):
    def batch(self, rows):
        x, y = super().batch(rows)
        return Batch(x.double(), y)


PLAIN = prototypes(n=64)
DATA = InFloat64(PLAIN.name, PLAIN.x, PLAIN.y, PLAIN.classes)
EPOCHS, BATCH = 3, 16

TWINS = {
    "adam": (
        {"weight_decay": 0.01, "adam_beta1": 0.5, "learning_rate": 0.01},
        lambda p: Adam(p, 0.01, betas=(0.5, 0.999), weight_decay=0.01),
    ),
    "sgd": ({"learning_rate": 0.1}, lambda p: SGD(p, 0.1)),
    "sgd with momentum": (
        {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        lambda p: SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adadelta": ({"learning_rate": 1.0}, lambda p: Adadelta(p, lr=1.0)),
    "adagrad": (
        {"learning_rate": 0.1, "weight_decay": 0.1},
        lambda p: Adagrad(p, lr=0.1, weight_decay=0.1),
    ),
    "adamax": (
        {"learning_rate": 0.01, "adam_beta1": 0.8},
        lambda p: Adamax(p, lr=0.01, betas=(0.8, 0.999)),
    ),
}


def objective(seed: int, beta: float = 0.1) -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 6))
        return Objective(
            Bottleneck(encoder, nn.Linear(3, 4), latent="gaussian"), VIB(beta)
        ).double()


def by_hand(make, seed: int, beta: float, clip: float = 0.0) -> Objective:
    """The plain loop that anybody would write."""
    twin = objective(seed, beta)
    optimiser = make(twin.parameters())
    noise = SeededNoise(torch.Generator().manual_seed(seed))
    order = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        rows = torch.randperm(len(DATA), generator=order)
        for batch in rows.split(BATCH):
            optimiser.zero_grad()
            with noise_from(noise):
                twin.method(twin.model, *DATA.batch(batch)).backward()
            if clip:
                nn.utils.clip_grad_norm_(twin.parameters(), clip)
            optimiser.step()
    return twin


def trained(kind, seeds, betas, **settings) -> list[dict[str, torch.Tensor]]:
    made = [objective(seed, beta) for seed, beta in zip(seeds, betas, strict=True)]
    members = kind(made, seeds)
    running = Trainer(members, DATA, DATA, TrainConfig(epochs=EPOCHS, batch_size=BATCH, **settings))
    for _ in range(EPOCHS):
        running.run_epoch()
    return [dict(members.member(i).named_parameters()) for i in range(len(members))]


@pytest.mark.parametrize("name", list(TWINS))
@pytest.mark.parametrize("kind", [Stacked, Looped])
@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_an_optimiser_is_torchs_own_optimiser_in_a_plain_loop(name, kind, clip):
    settings, make = TWINS[name]
    seeds, betas = [0, 5], [0.1, 0.3]
    found = trained(kind, seeds, betas, optimiser=name.split()[0], clip_norm=clip, **settings)
    for own, seed, beta in zip(found, seeds, betas, strict=True):
        twin = by_hand(make, seed, beta, clip)
        for label, parameter in twin.named_parameters():
            torch.testing.assert_close(own[label], parameter, rtol=1e-7, atol=1e-10, msg=label)


def test_clipping_bites_in_these_tests():
    settings, make = TWINS["sgd"]
    free, held = (by_hand(make, 0, 0.1, clip) for clip in (0.0, 0.3))
    assert any(
        not torch.equal(a, b) for a, b in zip(free.parameters(), held.parameters(), strict=True)
    )
    assert settings["learning_rate"] == make(free.parameters()).param_groups[0]["lr"]


@pytest.mark.parametrize("limit", [0.1, 1e6])
def test_each_member_of_a_stack_has_a_norm_of_its_own(limit):
    torch.manual_seed(0)
    sizes = [(3, 4, 5), (3, 7), (3,)]
    stacked = [nn.Parameter(torch.zeros(size)) for size in sizes]
    for parameter in stacked:
        parameter.grad = torch.randn_like(parameter)
    unused = nn.Parameter(torch.zeros(3, 2))
    alone = [[nn.Parameter(torch.zeros(size[1:])) for size in sizes] for _ in range(3)]
    for index, parameters in enumerate(alone):
        for own, parameter in zip(parameters, stacked, strict=True):
            own.grad = parameter.grad[index].clone()
        nn.utils.clip_grad_norm_(parameters, limit)
    clip_gradients([*stacked, unused], limit, stacked=True)
    for index, parameters in enumerate(alone):
        norm = math.sqrt(sum(p.grad[index].square().sum() for p in stacked))
        assert norm <= limit * (1 + 1e-5)
        for own, parameter in zip(parameters, stacked, strict=True):
            torch.testing.assert_close(parameter.grad[index], own.grad)


def test_an_infinite_gradient_does_not_reach_other_members():
    parameter = nn.Parameter(torch.zeros(2, 3))
    parameter.grad = torch.tensor([[math.inf, 0, 0], [3.0, 4.0, 0]])
    clip_gradients([parameter], 1.0, stacked=True)
    torch.testing.assert_close(parameter.grad[1], torch.tensor([0.6, 0.8, 0.0]))
