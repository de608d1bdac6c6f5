"""A guide is climbed past the point at which it is fooled, and the model is asked at every step."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from narrows.audit import Case
from narrows.audit._guided import climb_guide, guided_points
from narrows.audit.planted import Detached, NoisyInput
from scenarios_audit import EPS, SMALL, Misleading, case_of


@pytest.mark.parametrize("start", ["image", "random"])
@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
def test_the_core_of_a_trap_fools_the_trap(loss, start):
    case = case_of(Misleading)
    before = len(case.survivors)
    fooled = climb_guide(case, "core", loss=loss, start=start)
    assert fooled == before - len(case.survivors) > 30
    entry = case.ledger.entries[-1]
    assert entry.name == f"{loss} of core"
    assert entry.backwards == before * case.budget.steps


def test_points_stay_in_the_ball_and_are_the_first_that_fool():
    case = case_of(Detached)
    rows = torch.arange(10)
    for reach in (1.0, 0.5):
        x_adv = guided_points(case, case.view("core"), rows, reach=reach)
        apart = (x_adv - case.x[:10]).abs().amax()
        assert apart <= reach * EPS + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
    x_adv = guided_points(case, case.view("core"), rows)
    assert case.wrong(x_adv, rows).all()
    sizes = (x_adv - case.x[:10]).abs().flatten(1).amax(1)
    assert sizes.min() < 0.8 * EPS  # ten steps of a quarter of the radius each


def test_a_stochastic_model_is_not_fooled_by_one_look():
    case = case_of(NoisyInput)
    points = guided_points(case, case.view("core"), torch.arange(5))
    assert torch.isclose((points - case.x[:5]).abs().amax(), torch.tensor(EPS), atol=1e-4)


def test_without_a_guide_or_an_image_nothing_is_entered():
    case = case_of()
    assert climb_guide(case, "twin") == climb_guide(case, "core") == 0
    assert len(case.ledger.entries) == 1


def test_l2_balls_are_kept_too():
    case = case_of(Detached, norm="l2", eps=0.7)
    x_adv = guided_points(case, case.view("core"), torch.arange(8), start="random")
    assert (x_adv - case.x[:8]).flatten(1).norm(dim=1).max() <= 0.7 + 1e-5


class Sure(nn.Module):
    """Class 0, whatever the one pixel is."""

    def forward(self, x):
        return x.flatten(1) * torch.tensor([0.0, 0.0]) + torch.tensor([1.0, 0.0])


class Valley(nn.Module):
    """The loss of class 0 is largest where the pixel is .51."""

    def forward(self, x):
        return -(x.flatten(1) - 0.51).abs() * torch.tensor([0.0, 1.0])


def test_momentum_of_nine_tenths_turns_where_the_gradient_turns():
    x = torch.full((1, 1, 1, 1), 0.5)
    case = Case(Sure(), x, torch.tensor([0]), eps=0.1, budget=replace(SMALL, steps=5))
    # Steps of .05 that cross the top each time: 1, -.1, .91, -.181 and .8371 of momentum.
    points = guided_points(case, Valley(), torch.tensor([0]))
    assert points.item() == pytest.approx(0.55)
