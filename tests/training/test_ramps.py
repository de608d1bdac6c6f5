"""Beta on its way to its value, in stacks, alone, and inside adversarial training."""

import math

import pytest
import torch
from torch import nn

from narrows import CEB, VIB, Bottleneck, PGDTraining
from narrows.training import Looped, Objective, Solo, Stacked, TrainConfig, Trainer, fit
from scenarios_training import prototypes

DATA = prototypes(n=64)
STEPS = 4  # an epoch
BETAS = [0.0, 0.1, 0.5]


def objective(beta: float, wrapped: bool = False) -> Objective:
    torch.manual_seed(0)
    model = Bottleneck(nn.Linear(20, 6), nn.Linear(3, 4), latent="gaussian")
    method = VIB(beta)
    return Objective(model, PGDTraining(method, eps=0.1, steps=1) if wrapped else method)


def trainer(kind=Stacked, wrapped: bool = False, **settings) -> Trainer:
    made = [objective(beta, wrapped) for beta in BETAS]
    members = Solo(made[1], 0) if kind is Solo else kind(made, [0, 0, 0])
    config = TrainConfig(**{"epochs": 4, "batch_size": 16, "beta_ramp": 2, **settings})
    return Trainer(members, DATA, DATA, config)


def betas_of(running: Trainer) -> list[float]:
    tensors = running.members.named_tensors()
    (name,) = (name for name in tensors if name.endswith("method.beta"))
    return tensors[name].tolist()


def path_of(running: Trainer) -> list[list[float]]:
    seen = []
    for _ in range(running.config.epochs):
        running.run_epoch(lambda: seen.append(betas_of(running)))
    return seen


@pytest.mark.parametrize("kind", [Stacked, Looped])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_linear_ramp_is_a_straight_line_from_its_start_to_each_members_beta(kind, wrapped):
    path = path_of(trainer(kind, wrapped, beta_start=0.02))
    for step, betas in enumerate(path):
        share = min(1.0, step / (2 * STEPS))
        expected = [0.0, *(0.02 + (beta - 0.02) * share for beta in BETAS[1:])]
        assert betas == pytest.approx(expected, rel=1e-6)
    assert path[2 * STEPS :] == [pytest.approx(BETAS)] * (2 * STEPS)


def test_a_ramp_in_the_logarithm_is_cebs_rho_on_a_straight_line():
    start = math.exp(-100)
    path = path_of(trainer(Solo, beta_start=start, beta_scale="log"))
    target = -math.log(0.1)
    for step, (beta,) in enumerate(path):
        rho = 100 + (target - 100) * min(1.0, step / (2 * STEPS))
        if rho < 80:  # below, float32 rounds to few digits
            assert beta == pytest.approx(math.exp(-rho), rel=1e-5)
    assert path[0][0] < 1e-43


def test_the_loss_sees_the_beta_of_its_step():
    def losses(beta: float, **settings) -> list[float]:
        config = TrainConfig(epochs=2, batch_size=64, learning_rate=1e-9, **settings)
        running = Trainer(Solo(objective(beta), 0), DATA, DATA, config)
        return [running.run_epoch().losses["loss"][0] for _ in range(2)]

    ramped = losses(0.5, beta_ramp=1, beta_start=0.1)
    assert ramped[0] == pytest.approx(losses(0.1)[0])
    assert ramped[1] == pytest.approx(losses(0.5)[1])


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_the_best_epoch_comes_after_the_ramp_and_has_the_whole_beta(monkeypatch, averaging):
    falling = iter([0.9, 0.8, 0.3, 0.2])
    monkeypatch.setattr(
        "narrows.training.trainer.accuracies",
        lambda members, data: torch.full((3,), next(falling), dtype=torch.float64),
    )
    running = trainer(averaging=averaging)
    for _ in range(4):
        running.run_epoch()
    assert running.history[1].best_epoch == [-1, -1, -1]
    assert running.history[-1].best_epoch == [2, 2, 2]
    running.best_members()
    assert betas_of(running) == pytest.approx(BETAS)


def test_patience_begins_after_the_ramp(monkeypatch):
    monkeypatch.setattr(
        "narrows.training.trainer.accuracies",
        lambda members, data: torch.zeros(3, dtype=torch.float64),
    )
    made = [objective(beta) for beta in BETAS]
    config = TrainConfig(epochs=9, batch_size=16, beta_ramp=3, patience=2)
    assert fit(Stacked(made, [0, 0, 0]), DATA, DATA, config).epoch == 6


def test_without_a_ramp_beta_is_never_written():
    running = trainer(beta_ramp=0)
    assert path_of(running) == [pytest.approx(BETAS)] * 4 * STEPS
    assert CEB.from_rho(2.0, latent=3, classes=4).beta.item() == pytest.approx(math.exp(-2))
