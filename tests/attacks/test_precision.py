"""Iterates are float32 at least, whatever the images and the model are."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from narrows.attacks import APGD, FAB, PGD, CarliniWagner, DeepFool, MultiTargeted, Square
from narrows.attacks import norms as geometry
from narrows.attacks._precision import Precision

HALF = [torch.float16, torch.bfloat16]
EPS = 2 / 255
LINF = [
    PGD(eps=EPS, steps=100, loss="margin", restarts=1),
    PGD(eps=EPS, steps=40, loss="margin", restarts=1),
    MultiTargeted(eps=EPS, restarts=1),
    APGD(eps=EPS, loss="dlr", restarts=1),
    FAB(eps=EPS, steps=20, restarts=1),
]


def half_case(kind):
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(192, 10)
    model.weight.data = torch.randn(10, 192, generator=generator) * 0.2
    model.bias.data = torch.randn(10, generator=generator) * 0.1
    x = torch.rand(64, 192, generator=generator).to(kind)
    model = model.to(kind)
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize("kind", HALF)
@pytest.mark.parametrize("attack", LINF, ids=lambda attack: f"{type(attack).__name__}")
def test_small_steps_are_not_rounded_away_and_the_ball_is_kept(attack, kind):
    model, x, y = half_case(kind)
    result = attack(model, x, y)
    assert result.x_adv.dtype == kind
    assert result.distance.dtype == torch.float32
    assert torch.equal(result.success, model(result.x_adv).argmax(1) != y)
    size = geometry.size(result.x_adv.float() - x.float(), "linf")
    assert size.max() <= EPS * (1 + 1e-5)
    # Inside the ball there may be no number of this type for the last half of a step.
    smaller = replace(attack, eps=EPS - torch.finfo(kind).eps / 2)
    single, exact, labels = half_case(torch.float32)
    assert result.success.sum() >= smaller(single, exact, labels).success.sum() - 1


@pytest.mark.parametrize("kind", HALF)
def test_the_ball_is_kept_in_l2_too(kind):
    model, x, y = half_case(kind)
    for attack in (PGD(norm="l2", eps=0.1, restarts=1), Square(norm="l2", eps=0.1, queries=50)):
        result = attack(model, x, y)
        size = geometry.size(result.x_adv.float() - x.float(), "l2")
        assert size.max() <= 0.1 * (1 + 1e-5)
        assert torch.equal(result.success, model(result.x_adv).argmax(1) != y)


@pytest.mark.parametrize("kind", [*HALF, torch.float64])
def test_images_are_cast_at_the_models_door(kind):
    model, x, _ = half_case(kind)
    x = x.float()
    y = model(x.to(kind)).argmax(1)
    for attack in (*LINF, DeepFool(), CarliniWagner(steps=30, searches=2)):
        result = attack(model, x, y)
        assert result.x_adv.dtype == torch.float32
        assert torch.equal(result.success, model(result.x_adv.to(kind)).argmax(1) != y)
        assert result.success.any()


@pytest.mark.parametrize("kind", HALF)
def test_half_images_meet_a_single_precision_model(kind):
    model, x, _ = half_case(torch.float32)
    x = x.to(kind)
    y = model(x.float()).argmax(1)
    result = PGD(eps=8 / 255, restarts=1)(model, x, y)
    assert result.x_adv.dtype == kind
    assert torch.equal(result.success, model(result.x_adv.float()).argmax(1) != y)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", HALF)
def test_rounding_stays_within_the_radius_and_off_it_by_one_step_at_most(norm, kind):
    generator = torch.Generator().manual_seed(0)
    origin = torch.rand(50, 30, generator=generator).to(kind).float()
    origin[0, :3] = torch.tensor([0.0, 1.0, 0.5])
    eps = 0.011 if norm == "linf" else 0.05
    delta = geometry.project(torch.randn(50, 30, generator=generator), norm, eps)
    x = (origin + delta).clamp(0, 1)
    rounded = Precision(kind, kind, norm, eps).rounded(x, origin)
    assert rounded.dtype == kind
    assert geometry.size(rounded.float() - origin, norm).max() <= eps * (1 + 1e-5)
    step = torch.finfo(kind).eps * x.clamp_min(2**-10)
    assert ((rounded.float() - x).abs() <= step).all()
    assert torch.equal(Precision(kind, kind).rounded(x), x.to(kind))
    assert torch.equal(Precision(torch.float32, torch.float32, norm, eps).rounded(x, origin), x)
