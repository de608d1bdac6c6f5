import math

import pytest
import torch

from narrows.attacks import DDN, DeepFool
from narrows.errors import ConfigError
from scenarios_attacks import NoisyInput, curved_case, exact_radius, linear_case


@pytest.mark.parametrize("classes", [2, 5])
def test_finds_the_exact_radius_of_a_linear_classifier(classes):
    model, x, y = linear_case(classes)
    radius = exact_radius(model, x, y, "l2")
    result = DDN()(model, x, y)
    assert result.success.all()
    ratio = result.distance / radius
    assert ratio[radius > 1e-4].min() > 0.999
    assert ratio.median() < 1.001
    # With several classes a descent may end at one that is not the nearest.
    assert (ratio[radius > 1e-3] < 1.01).double().mean() > (0.999 if classes == 2 else 0.95)


def by_hand(attack: DDN, model, image, label):
    """Algorithm 1 on one image, the largest step first; the nearest success, or None."""
    x, delta, radius, best = image, torch.zeros_like(image), attack.initial_radius, None
    for k in range(attack.steps + 1):
        x = x.detach().requires_grad_()
        logits = model(x)
        fooled = logits.argmax().item() != label.item()
        if fooled and (best is None or (x - image).norm() < (best - image).norm()):
            best = x.detach()
        loss = torch.nn.functional.cross_entropy(logits, label)
        (g,) = torch.autograd.grad(loss, x)
        alpha = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * k / attack.steps))
        delta = delta + alpha * g / g.norm()
        radius *= 1 - attack.gamma if fooled else 1 + attack.gamma
        x = (image + radius * delta / delta.norm()).clamp(0, 1)
        delta = (x - image).detach()
    return best


def test_equals_the_slow_twin_up_to_the_last_look():
    model, x, y = curved_case(dtype=torch.float64)
    model.eval()
    y = model(x).argmax(1)
    attack = DDN(steps=20, loss="cross_entropy")
    result = attack(model, x, y)
    compared = 0
    for i in range(len(x)):
        twin = by_hand(attack, model, x[i : i + 1], y[i : i + 1])
        if twin is not None:
            far = (twin - x[i]).norm()
            assert 0 < result.distance[i] <= far
            way = (twin - x[i]).flatten() / far
            mine = (result.x_adv[i] - x[i]).flatten()
            torch.testing.assert_close(mine, result.distance[i] * way)
            compared += 1
    assert compared >= 30


def test_finds_less_than_deepfool_where_the_boundary_is_curved():
    model, x, y = curved_case(200)
    model.first.weight.data *= 3
    assert DDN()(model, x, y).distance.median() < DeepFool()(model, x, y).distance.median()


def test_two_losses_in_turn_find_less_than_either_alone():
    model, x, y = curved_case(200)
    model.first.weight.data *= 3
    y = model.eval()(x).argmax(1)
    far = {loss: DDN(loss=loss)(model, x, y).distance for loss in (None, "margin", "cross_entropy")}
    both = far.pop(None)
    assert all(both.median() < 0.99 * alone.median() for alone in far.values())
    model, x, y = linear_case(5)
    alone = DDN(loss="cross_entropy")(model, x, y).distance
    assert DDN()(model, x, y).distance.median() < 0.9 * alone.median()


def test_what_cannot_be_reached_leaves_the_radius_within_the_box():
    model, x, y = linear_case(2)
    model.layer.bias.data[0] += 1e3
    model.layer.weight.data[:, 0] = 0  # a pixel without a gradient: inf * 0
    result = DDN(steps=300, gamma=0.5)(model, x[y == 0], y[y == 0])
    assert not result.success.any()
    assert torch.isfinite(result.x_adv).all()


def test_saturated_logits_hide_the_gradient_from_cross_entropy_but_not_from_the_margin():
    model, x, y = linear_case(2)
    model.scale(1e4)
    far = exact_radius(model, x, y, "l2") > 0.02
    x, y = x[far], y[far]
    assert not DDN(loss="cross_entropy")(model, x, y).success.any()
    assert DDN()(model, x, y).success.all()


def test_fresh_draws_confirm_what_it_returns_for_a_stochastic_model():
    model, x, y = linear_case(2)
    near = exact_radius(model, x, y, "l2") < 0.1
    model, x, y = NoisyInput(model, 0.1), x[near], y[near]
    result = DDN(steps=50, draws=4, verify_draws=50)(model, x, y)
    assert result.success.double().mean() > 0.8


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"norm": "linf"}, "DDN takes norm l2, got"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"gamma": 0.0}, "gamma must be finite and larger than 0"),
        ({"gamma": 1.0}, "gamma must be less than 1"),
        ({"initial_radius": math.nan}, "initial_radius must be finite and larger than 0"),
        ({"loss": "mse"}, "unknown attack loss"),
    ],
)
def test_refuses_what_means_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        DDN(**wrong)
