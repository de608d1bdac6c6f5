import math

import pytest
import torch
from torch import nn

from narrows.attacks import FAB
from narrows.attacks import norms as geometry
from narrows.attacks.fab import to_plane
from narrows.errors import ConfigError
from scenarios_attacks import (
    Linear,
    NoisyInput,
    curved_case,
    exact_radius,
    linear_case,
    sparse_radius,
)

NORMS = ["linf", "l2", "l1"]


def by_bisection(x, w, lead, norm):
    """How far each pixel of one image moves: the paper's optimum as a function of one number."""

    def moved(t: float) -> torch.Tensor:
        if norm == "l1":
            return one_by_one(x, -math.copysign(1, lead) * w, t)
        way = -math.copysign(1, lead) * (w.sign() if norm == "linf" else w)
        return (x + t * way).clamp(0, 1) - x

    def reached(t: float) -> bool:
        return abs((w * moved(t)).sum().item()) >= abs(lead)

    low, high = 0.0, 1e4
    if not reached(high):
        return moved(high)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return moved(high)


def one_by_one(x, w, t):
    """A step of L1 size t at most: the pixel of the largest |w| moves first, then the next one."""
    step = torch.zeros_like(x)
    for place in w.abs().flatten().argsort(descending=True).tolist():
        slope, value = w.flatten()[place].item(), x.flatten()[place].item()
        room = {1: 1 - value, 0: 0, -1: value}[(slope > 0) - (slope < 0)]
        step.view(-1)[place] = math.copysign(min(t, room), slope)
        t -= min(t, room)
    return step


def plane_case(reach: float, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(60, 3, 4, dtype=torch.float64, generator=generator)
    x[torch.rand(x.shape, generator=generator) < 0.3] = 0
    x[torch.rand(x.shape, generator=generator) < 0.2] = 1
    w = torch.randn(60, 3, 4, dtype=torch.float64, generator=generator)
    w[torch.rand(w.shape, generator=generator) < 0.1] = 0
    lead = reach * torch.randn(60, dtype=torch.float64, generator=generator)
    return x, w, lead


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("reach", [0.1, 1.0, 5.0])
def test_projection_equals_the_bisected_twin(norm, reach):
    x, w, lead = plane_case(reach)
    step = to_plane(x, w, lead, norm)
    twin = torch.stack([by_bisection(*row, norm) for row in zip(x, w, lead.tolist(), strict=True)])
    torch.testing.assert_close(step, twin, rtol=0, atol=1e-9)
    assert ((x + step >= 0) & (x + step <= 1)).all()
    on_plane = (lead + (w * step).flatten(1).sum(1)).abs() < 1e-9
    assert 0 < on_plane.sum() <= 60
    assert on_plane.all() == (reach < 5)  # then some boxes end before the plane


@pytest.mark.parametrize("norm", NORMS)
def test_projection_is_shorter_than_any_other_way_to_the_plane(norm):
    x, w, lead = plane_case(0.5)
    size = geometry.size(to_plane(x, w, lead, norm), norm)
    generator = torch.Generator().manual_seed(1)
    compared = 0
    for _ in range(200):
        other = torch.rand(x.shape, dtype=x.dtype, generator=generator) - x
        gained = -(w * other).flatten(1).sum(1) / lead
        crosses = gained > 1
        scaled = other / geometry.per_image(gained, other)
        assert (geometry.size(scaled, norm) >= size - 1e-9)[crosses].all()
        compared += int(crosses.sum())
    assert compared > 1000


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_projection_knows_no_unit_of_the_logits(norm, scale):
    x, w, lead = (part.float() for part in plane_case(0.5))
    torch.testing.assert_close(
        to_plane(x, w * scale, lead * scale, norm), to_plane(x, w, lead, norm), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_gradient_nothing_moves(norm):
    x = torch.rand(3, 4)
    assert torch.equal(to_plane(x, torch.zeros(3, 4), torch.ones(3), norm), torch.zeros(3, 4))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("targets", [None, 9])
def test_finds_the_exact_radius_of_a_linear_classifier(norm, classes, targets):
    model, x, y = linear_case(classes)
    radius = exact_radius(model, x, y, norm)
    if norm == "l1" and classes == 2:  # where one pixel is not enough
        radius = sparse_radius(model, x, "l1")
    result = FAB(norm=norm, steps=30, restarts=1, targets=targets)(model, x, y)
    assert result.success.all()
    assert (result.distance <= 1.01 * radius + 1e-5).all()
    assert (result.distance >= 0.999 * radius - 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
def test_scale_of_the_logits_does_not_matter(norm):
    model, x, y = linear_case(5)
    plain = FAB(norm=norm, steps=20, restarts=1)(model, x, y)
    model.scale(1e4)
    scaled = FAB(norm=norm, steps=20, restarts=1)(model, x, y)
    torch.testing.assert_close(scaled.distance, plain.distance, rtol=5e-3, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_towards_a_target_it_meets_that_boundary(norm):
    model, x, y = linear_case(3, dtype=torch.float64)
    target = (y + 1) % 3
    result = FAB(norm=norm, steps=30, restarts=1)(model, x, y, target)
    assert result.success.all()
    assert torch.equal(model(result.x_adv).argmax(1), target)
    pair = Linear(20, 2).double()
    found = 0
    for i in range(50):
        both = torch.stack([y[i], target[i]])
        pair.layer.weight.data = model.layer.weight.data[both]
        pair.layer.bias.data = model.layer.bias.data[both]
        least = exact_radius(pair, x[i : i + 1], torch.tensor([0]), norm)
        assert result.distance[i] >= 0.999 * least
        found += int(result.distance[i] <= 1.01 * least)
    assert found >= 20  # for the others the third class lies between


def test_classes_passed_over_cost_little(monkeypatch):
    model, x, y = curved_case(200)
    attack = FAB(norm="l2", steps=30, restarts=1)
    quick = attack(model, x, y)
    monkeypatch.setattr("narrows.attacks.fab._GROWTH", math.inf)
    full = attack(model, x, y)
    assert quick.backwards < full.backwards / 2
    assert quick.distance.median() <= 1.005 * full.distance.median()


def test_restarts_find_no_worse_and_what_hides_from_the_image_itself():
    model, x, y = curved_case(100)
    one, more = (FAB(steps=5, restarts=n)(model, x, y).distance for n in (1, 4))
    assert (more <= one + 1e-6).all()

    class Island(nn.Module):  # flat where the images are, steep a little farther
        def forward(self, x):
            return torch.stack([0 * x[:, 0] + 0.3, 10 * (x[:, 0] - 0.45).relu()], 1)

    x, y = torch.full((50, 2), 0.4), torch.zeros(50, dtype=torch.int64)
    one, more = (FAB(steps=5, restarts=n)(Island(), x, y) for n in (1, 40))
    assert not one.success.any()
    assert not more.success.any()  # starts fill half a tenth of the box while nothing is known
    assert FAB(steps=5, restarts=40, eps=0.3)(Island(), x, y).success.all()


@pytest.mark.parametrize("norm", NORMS)
def test_with_eps_success_is_within_it_and_costs_less(norm):
    model, x, y = linear_case(5, dtype=torch.float64)
    radius = exact_radius(model, x, y, norm)
    eps = radius.median().item()
    free = FAB(norm=norm, steps=20, restarts=2, targets=4)(model, x, y)
    result = FAB(norm=norm, eps=eps, steps=20, restarts=2, targets=4)(model, x, y)
    clear = (radius / eps - 1).abs() > 0.01
    assert torch.equal(result.success[clear], (radius < eps)[clear])
    assert geometry.size(result.x_adv - x, norm).max() <= eps * (1 + 1e-9)
    assert result.backwards < 0.75 * free.backwards


def test_side_by_side_and_one_after_another_are_equally_strong():
    model, x, y = curved_case(60)
    robust = [
        FAB(eps=0.1, steps=10, restarts=3, targets=4, chunk=chunk)(model, x, y).robust_accuracy
        for chunk in (512, 20)
    ]
    assert robust[0] == pytest.approx(robust[1], abs=0.04)


@pytest.mark.parametrize("eps", [None, 0.08])
def test_fresh_draws_confirm_what_it_returns_for_a_stochastic_model(eps):
    model, x, y = linear_case(2)
    near = exact_radius(model, x, y, "linf") < 0.04
    model, x, y = NoisyInput(model, 0.1), x[near], y[near]
    result = FAB(eps=eps, steps=10, restarts=2, draws=4, verify_draws=50)(model, x, y)
    assert result.success.double().mean() > 0.8
    if eps:
        assert geometry.size(result.x_adv - x, "linf").max() <= eps * (1 + 1e-5)


def test_an_image_on_the_boundary_moves():
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.eye(2)
    result = FAB(steps=3, restarts=1)(model, torch.tensor([[0.5, 0.5]]), torch.tensor([0]))
    assert result.success.all()
    assert result.distance.item() < 1e-5


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"restarts": 0}, "restarts must be at least 1"),
        ({"targets": 0}, "targets must be at least 1"),
        ({"targets": -1}, "targets must be at least 1"),
        ({"eps": math.nan}, "eps must be finite, got nan"),
        ({"eps": 8.0}, "divide by 255"),
        ({"alpha_max": 1.5}, "alpha_max must be finite, at least 0 and at most 1"),
        ({"eta": 0.9}, "eta must be finite and at least 1"),
        ({"beta": -0.1}, "beta must be finite, at least 0"),
    ],
)
def test_refuses_what_means_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        FAB(**wrong)


@pytest.mark.parametrize("targets", [None, 4])
def test_with_eps_a_far_boundary_is_given_up_and_a_near_one_is_not(targets):
    model, x, y = linear_case(5)
    radius = exact_radius(model, x, y, "linf")
    eps = float(radius.median())
    result = FAB(eps=eps, steps=100, restarts=2, targets=targets)(model, x, y)
    clear = (radius - eps).abs() > 0.02 * eps
    assert torch.equal(result.success[clear], (radius <= eps)[clear])
    attempts = 2 * (targets or 1)
    far = FAB(eps=0.1 * float(radius.min()), steps=100, restarts=2, targets=targets)(model, x, y)
    assert not far.success.any()
    # Twenty steps an attempt in place of a hundred, and a few looks beside.
    assert far.backwards <= (20 if targets else 20 * 4) * attempts * len(x)
