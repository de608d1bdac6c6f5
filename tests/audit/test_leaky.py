"""Inactive units pass a part of the gradient on, and nothing else changes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from narrows.audit._leaky import Leaky
from scenarios_audit import Around, case_of, undefended


class Masked(Around):
    """A bottleneck whose units are all silent at the images."""

    def forward(self, x):
        logits = self.model(x)
        top = logits.amax(1, keepdim=True).detach()
        return F.relu(logits - top + 1e-3) * 0 + F.relu(logits - 0.97 * top)


@pytest.mark.parametrize(
    "function",
    [
        torch.relu,
        F.relu,
        lambda x: x.relu(),
        lambda x: x.clone().relu_(),
        lambda x: x.clamp(min=0),
        lambda x: torch.clamp(x, 0, 1),
        lambda x: F.hardtanh(x),
        lambda x: F.threshold(x, 0.0, 0.0),
        nn.ReLU(),
    ],
)
def test_every_rectifier_leaks(function):
    class Model(nn.Module):
        def forward(self, x):
            return function(x)

    x = torch.tensor([[-2.0, 3.0, 0.5]], requires_grad=True)
    made = Leaky(Model())(x)
    assert torch.equal(made, Model()(x))
    (gradient,) = torch.autograd.grad(made.sum(), x)
    (own,) = torch.autograd.grad(Model()(x).sum(), x)
    torch.testing.assert_close(gradient, own + 0.2)
    with torch.no_grad():
        assert torch.equal(Leaky(Model())(x), made)


def test_minus_infinity_stays_what_it_is():
    x = torch.tensor([[-torch.inf, 1.0]], requires_grad=True)
    assert torch.relu(x).tolist() == Leaky(nn.ReLU())(x).tolist()


def test_silent_units_are_woken():
    case = case_of(Masked, eps=0.1)
    plain = int(case.plain(case.pgd(loss="margin")).success.sum())
    leaky = int(case.run(case.pgd(loss="margin"), "leaky").success.sum())
    assert leaky >= plain
    with torch.no_grad():
        assert torch.equal(Leaky(case.model)(undefended()[1]), case.model(undefended()[1]))
