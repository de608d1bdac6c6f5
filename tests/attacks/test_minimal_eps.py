import math

import pytest
import torch

from narrows.attacks import DDN, FGSM, PGD, DeepFool, MinimalEps, accuracy_curve
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
