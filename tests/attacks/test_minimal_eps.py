import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from narrows.attacks import DDN, FGSM, PGD, DeepFool, MinimalEps, accuracy_curve
from narrows.attacks.minimal_eps import within
from narrows.errors import ConfigError
from scenarios_attacks import Counting, curved_case, exact_radius, linear_case


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.08), ("l2", 0.32)])
def test_finds_the_exact_radius_to_the_grid(norm, eps):
    model, x, y = linear_case(2, count=60, dtype=torch.float64)
    radius = exact_radius(model, x, y, norm)
    search = MinimalEps(attack=PGD(norm=norm, eps=eps, steps=10, restarts=1), levels=6)
    result = search(model, x, y)
    reached = radius < eps
    assert torch.equal(result.success, reached)
    assert (result.distance[reached] >= radius[reached]).all()
    assert (result.distance[reached] <= radius[reached] + 1.01 * eps / 2**6).all()
    assert torch.isinf(result.distance[~reached]).all()
    assert (model(result.x_adv).argmax(1) != y)[reached].all()


def test_counts_what_it_does_and_leaves_images_that_are_wrong():
    model, x, y = curved_case()
    counting = Counting(model)
    result = MinimalEps(attack=PGD(eps=0.2, steps=5, restarts=1))(counting, x, y)
    assert (result.forwards, result.backwards) == (counting.forwards, counting.backwards)
    wrong = model.eval()(x).argmax(1) != y
    assert (result.distance[wrong] == 0).all()
    assert torch.equal(result.x_adv[wrong], x[wrong])


def test_what_was_found_is_used_again():
    # FGSM's perturbations have the size of its radius; an image is looked at once a level at most.
    model, x, y = linear_case(2)
    attack = FGSM(eps=0.08)
    result = MinimalEps(attack=attack, levels=5)(model, x, y)
    assert result.backwards <= 6 * len(x)
    assert result.success.sum() == attack(model, x, y).success.sum()


@pytest.mark.parametrize("eps", [0.3, 0.1, 8 / 255, 0.7, 1e-4])
@pytest.mark.parametrize("levels", [1, 6, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_size_on_the_grid_belongs_to_that_radius(eps, levels, dtype):
    # 64 * (0.3 * 53 / 64) / 0.3 is 53.00000000000001: a quotient would say radius 54.
    search = MinimalEps(attack=FGSM(eps=eps), levels=levels)
    sizes = torch.tensor(search.grid, dtype=dtype)
    numbers = list(range(1, 2**levels + 1))
    assert search._first_around(sizes).tolist() == numbers
    above = torch.nextafter(sizes, torch.full_like(sizes, math.inf))  # as rounding may leave it
    assert search._first_around(above).tolist() == numbers


def test_the_first_radius_around_a_size_is_that_of_a_search_by_hand():
    search = MinimalEps(attack=FGSM(eps=0.37), levels=5)
    sizes = torch.rand(500, generator=torch.Generator().manual_seed(0)) * 0.5
    sizes[:3] = torch.tensor([0.0, math.inf, 1e-9])

    def first(size: torch.Tensor) -> int:
        if size == 0:
            return 0
        holds = [bool(within(size[None], radius)) for radius in search.grid]
        return holds.index(True) + 1 if any(holds) else len(holds)

    assert search._first_around(sizes).tolist() == [first(size) for size in sizes]


def test_a_radius_that_a_success_lies_within_is_not_tried():
    # Radii just below .15, which is one step of the attack and the 32nd of 64 radii up to .3.
    model = nn.Linear(2, 2, bias=False)
    model.weight.data.copy_(torch.eye(2))
    high = torch.linspace(0.5, 0.8, 30)
    x, y = torch.stack([high, high - 0.299], 1), torch.zeros(30, dtype=torch.int64)
    tried: list[float] = []

    @dataclass(frozen=True, kw_only=True)
    class Noted(PGD):
        def perturb(self, query, x, generator):
            tried.append(self.eps)
            return super().perturb(query, x, generator)

    result = MinimalEps(attack=Noted(eps=0.3, steps=5, restarts=1), levels=6)(model, x, y)
    assert result.distance.tolist() == pytest.approx([0.15] * 30)
    assert tried[0] == 0.3
    assert 0.15 not in tried


def test_targets_are_passed_on():
    model, x, y = linear_case(4)
    target = (y + 1) % 4
    result = MinimalEps(attack=PGD(eps=0.3, steps=10, restarts=1))(model, x, y, target)
    assert result.success.any()
    assert torch.equal(model(result.x_adv).argmax(1) == target, result.success)


def test_curve_is_the_share_beyond_each_radius():
    model, x, y = linear_case(3, count=100, dtype=torch.float64)
    radius = exact_radius(model, x, y, "l2")
    result = DeepFool(overshoot=0)(model, x, y)
    eps = [0.0, 0.02, 0.05, 0.1, 10.0]
    exact = [(radius > value).double().mean().item() for value in eps]
    assert accuracy_curve(result, eps) == pytest.approx(exact, abs=0.02)
    attack = PGD(norm="l2", eps=0.2, steps=10, restarts=1, loss="margin")
    search = MinimalEps(attack=attack, levels=4)
    curve = accuracy_curve(search(model, x, y), search.grid)
    assert curve == sorted(curve, reverse=True)
    exact = [(radius > value).double().mean().item() for value in search.grid]
    assert curve == pytest.approx(exact, abs=0.03)


def test_an_image_fooled_at_a_radius_is_not_robust_there():
    model, x, y = linear_case(2)
    for eps in (0.02, 8 / 255):
        result = FGSM(eps=eps)(model, x, y)
        assert accuracy_curve(result, [eps]) == pytest.approx([result.robust_accuracy])


def test_refuses_what_means_nothing():
    with pytest.raises(ConfigError, match="levels must be at least 1"):
        MinimalEps(attack=FGSM(eps=0.1), levels=0)
    with pytest.raises(ConfigError, match=r"levels must be a whole number, got 2\.5"):
        MinimalEps(attack=FGSM(eps=0.1), levels=2.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="must have a radius"):
        MinimalEps(attack=DDN())  # pyright: ignore[reportArgumentType]
    model, x, y = linear_case(2)
    with pytest.raises(ConfigError, match="eps must be finite and at least 0"):
        accuracy_curve(FGSM(eps=0.1)(model, x, y), [0.1, math.nan])
