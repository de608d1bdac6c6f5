"""Honest models are not accused: plain, adversarially trained, and with noise, at fixed seeds."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from narrows.audit import Outcome, audit
from narrows.data import load
from scenarios_audit import SMALL, OffGrid

BUDGET = replace(SMALL, images=100)


class Dropping(nn.Module):
    """A network whose dropout stays on."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.first, self.last = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        hidden = self.first(x.flatten(1)).relu()
        return self.last(F.dropout(hidden, self.rate, training=True))


def mlp_of(*between):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), *between, nn.ReLU(), nn.Linear(64, 10))


def hardened(model, x, y, eps):
    """Images that three steps of PGD have made harder."""
    x_adv = x
    for _ in range(3):
        x_adv = x_adv.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x_adv), y), x_adv)
        delta = (x_adv.detach() + eps / 2 * gradient.sign() - x).clamp(-eps, eps)
        x_adv = (x + delta).clamp(0, 1)
    return x_adv.detach()


def trained(build, seed, eps=0.0, epochs=10):
    splits = load("digits")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = build().train()
        optimiser = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(splits.train)).split(64):
                x, y = splits.train.batch(rows)
                x = hardened(model, x, y, eps) if eps else x
                optimiser.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimiser.step()
    return model.eval().requires_grad_(False)


HONEST = {
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), 0.0, {"eps": 0.05}),
    "plain": (mlp_of, 0.0, {"eps": 0.05}),
    "plain, weak": (mlp_of, 0.0, {"eps": 0.1}),
    "plain, L2": (mlp_of, 0.0, {"eps": 0.4, "norm": "l2"}),
    "dropout in training": (lambda: mlp_of(nn.Dropout(0.3)), 0.0, {"eps": 0.05}),
    "dropout always": (lambda: Dropping(0.2), 0.0, {"eps": 0.05}),
    "batch normalisation": (lambda: mlp_of(nn.BatchNorm1d(64)), 0.1, {"eps": 0.1}),
    "PGD": (mlp_of, 0.1, {"eps": 0.1}),
    "PGD, noise off the grid": (lambda: OffGrid(mlp_of()), 0.1, {"eps": 0.1}),
    "PGD, dropout always": (lambda: Dropping(0.2), 0.1, {"eps": 0.1}),
}


def check_not_accused(name, seed):
    build, eps, claim = HONEST[name]
    x, y = load("digits").test.batch(slice(0, 100))
    report = audit(trained(build, seed, eps), x, y, budget=BUDGET, **claim)
    assert report.verdict.outcome is Outcome.HOLDS, (report.verdict, report.findings)
    assert report.verdict.reached > 0.3
    assert report.flagged == ()


@pytest.mark.parametrize(
    "name",
    [
        *("linear", "plain", "dropout always"),
        *("PGD", "PGD, noise off the grid", "PGD, dropout always"),
    ],
)
def test_an_honest_model_is_not_accused(name):
    check_not_accused(name, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", HONEST)
def test_no_honest_model_is_accused_from_any_seed(name, seed):
    check_not_accused(name, seed)
