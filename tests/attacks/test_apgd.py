import logging
import math

import pytest
import torch
from torch import nn

from narrows.attacks import APGD, PGD
from narrows.attacks import norms as geometry
from narrows.attacks.apgd import checkpoints
from narrows.attacks.losses import dlr, targeted_dlr
from narrows.errors import ConfigError
from scenarios_attacks import NoisyInput, curved_case, exact_radius, linear_case, sparse_radius

BOTH = [("linf", 0.02), ("l2", 0.08)]


@pytest.mark.parametrize(("norm", "eps"), BOTH)
@pytest.mark.parametrize(
    ("classes", "loss"),
    [(2, "cross_entropy"), (2, "margin"), (2, "dlr"), (2, "targeted_dlr"), (10, "targeted_dlr")],
)
def test_succeeds_exactly_beyond_the_exact_radius(norm, eps, classes, loss):
    model, x, y = linear_case(classes, dtype=torch.float64)
    radius = exact_radius(model, x, y, norm)
    result = APGD(norm=norm, eps=eps, steps=30, restarts=1, loss=loss)(model, x, y)
    assert not result.success[radius > eps].any()
    assert result.success[radius < 0.99 * eps].all()
    assert 20 < result.success.sum() < 195


def test_checkpoints_are_those_of_the_paper():
    # p = 0, .22, .41, .57, .70, .80, .87, .93, .99: worked out by hand from the recursion.
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == []


def ball(attack: APGD, point: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    delta = point - image
    if attack.norm == "linf":
        delta = delta.clamp(-attack.eps, attack.eps)
    else:
        delta = delta * min(1.0, attack.eps / max(delta.norm().item(), 1e-300))
    return (image + delta).clamp(0, 1)


def by_hand(attack: APGD, model: nn.Module, image: torch.Tensor, label: torch.Tensor):
    """Algorithm 1 for one image, every iterate and loss kept, until the first that fools."""

    def look(point):
        point = point.detach().requires_grad_()
        logits = model(point)
        loss = nn.functional.cross_entropy(logits, label)
        (g,) = torch.autograd.grad(loss, point)
        return loss.item(), g.sign() if attack.norm == "linf" else g / g.norm(), logits.argmax()

    n, marks = attack.steps, {0, *checkpoints(attack.steps)}
    x, eta, best_x, best = {0: image}, {0: 2 * attack.eps}, image, -math.inf
    f, peaks, last, halvings = {}, {}, 0, 0
    for k in range(n + 1):
        f[k], up, said = look(x[k])
        if said != label:
            return x[k], halvings
        if f[k] > best:
            best, best_x = f[k], x[k]
        if k == n:
            return best_x, halvings
        if k in marks:
            peaks[k] = best
            if k:
                rises = sum(f[i + 1] > f[i] for i in range(last, k))
                unchanged = eta[last] == eta["before", last] and peaks[last] == best
                eta["before", k] = eta[last]
                if rises < 0.75 * (k - last) or unchanged:
                    eta[k], halvings = eta[last] / 2, halvings + 1
                    x[k], f[k] = best_x, best
                    up = look(best_x)[1]
                else:
                    eta[k] = eta[last]
            else:
                eta["before", 0] = eta[0]
            last = k
        a = 0.75 if k else 1.0
        z = ball(attack, x[k] + eta[last] * up, image)
        x[k + 1] = ball(
            attack, x[k] + a * (z - x[k]) + (1 - a) * (x[k] - x.get(k - 1, x[k])), image
        )
    raise AssertionError


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.06), ("l2", 0.2)])
def test_equals_the_slow_twin(norm, eps, monkeypatch):
    monkeypatch.setattr(APGD, "_stop_hopeless", lambda *_: None)
    model, x, y = curved_case(dtype=torch.float64)
    attack = APGD(norm=norm, eps=eps, steps=25, restarts=1)
    result = attack(model, x, y)
    model.eval()
    twin = [by_hand(attack, model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
    torch.testing.assert_close(result.x_adv, torch.cat([image for image, _ in twin]))
    assert 10 <= result.success.sum() <= 35
    assert max(halvings for _, halvings in twin) >= 2


def test_finds_no_less_than_pgd_at_equal_cost():
    model, x, y = curved_case(400)
    ours = APGD(eps=0.15, steps=20, restarts=1)(model, x, y)
    assert ours.success.sum() >= PGD(eps=0.15, steps=20, restarts=1)(model, x, y).success.sum()


def test_towards_targets_it_finds_more():
    model, x, y = linear_case(10)
    plain, aimed = (
        APGD(eps=0.02, steps=20, restarts=1, loss=loss)(model, x, y)
        for loss in ("cross_entropy", "targeted_dlr")
    )
    assert not (plain.success & ~aimed.success).any()
    assert aimed.success.sum() > plain.success.sum()


def test_saturated_logits_do_not_hide_the_gradient_from_dlr():
    model, x, y = linear_case(5)
    model.scale(1e4)
    far = exact_radius(model, x, y, "linf") > 0.005
    x, y = x[far], y[far]
    assert APGD(eps=0.2, steps=5, restarts=1)(model, x, y).robust_accuracy == 1
    for loss in ("dlr", "targeted_dlr"):
        assert APGD(eps=0.2, steps=20, restarts=1, loss=loss)(model, x, y).robust_accuracy == 0


def test_targets_limit_the_classes_that_are_tried():
    model, x, y = linear_case(10)
    costs = [
        APGD(eps=1e-6, steps=4, restarts=1, loss="targeted_dlr", targets=k)(model, x, y).backwards
        for k in (1, 3, 20)
    ]
    assert costs == [costs[0], 3 * costs[0], 9 * costs[0]]


def test_a_target_of_the_caller_has_to_beat_every_class():
    model, x, y = curved_case()
    target = (y + 2) % 5
    result = APGD(eps=0.3, steps=20, restarts=1, loss="targeted_dlr")(model, x, y, target)
    hit = model.eval()(result.x_adv).argmax(1) == target
    assert torch.equal(result.success, hit)
    assert hit.sum() >= 10


def test_returns_the_highest_loss_where_it_fails():
    model, x, y = curved_case(dtype=torch.float64)
    one, many = (APGD(eps=0.03, steps=5, restarts=n, loss="dlr")(model, x, y) for n in (1, 6))
    model.eval()
    left = ~many.success
    values = [dlr(model(result.x_adv), y)[left] for result in (one, many)]
    assert left.sum() >= 10
    assert (values[1] >= values[0] - 1e-9).all()


@pytest.mark.parametrize("common_noise", [False, True])
def test_a_lucky_draw_does_not_end_the_search(common_noise):
    model, x, y = linear_case(2)
    near = exact_radius(model, x, y, "linf") < 0.03
    model, x, y = NoisyInput(model, 0.15), x[near], y[near]
    attack = APGD(eps=0.06, steps=10, restarts=1, draws=4, common_noise=common_noise)
    result = attack(model, x, y)
    assert result.success.all()
    assert result.fooled_rate[result.distance > 0].min() > 0.6


def test_too_few_classes_are_logged(caplog):
    model, x, y = linear_case(3)
    with caplog.at_level(logging.WARNING):
        APGD(eps=0.1, steps=2, restarts=1, loss="dlr")(model, x, y)
        assert not caplog.records
        APGD(eps=0.1, steps=2, restarts=1, loss="targeted_dlr")(model, x, y)
    assert "targeted_dlr needs 4 classes and the model has 3" in caplog.text


def test_a_model_that_is_constant_is_survived():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 5))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    x, y = torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64)
    for loss in ("dlr", "targeted_dlr"):
        assert APGD(eps=0.1, steps=3, loss=loss)(model, x, y).robust_accuracy == 1
    assert targeted_dlr(model(x), y, y + 1).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"restarts": 0}, "restarts must be at least 1"),
        ({"targets": 0}, "targets must be at least 1"),
        ({"loss": "targeted-dlr"}, "did you mean 'targeted_dlr'"),
    ],
)
def test_refuses_what_means_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        APGD(**wrong)


def test_what_a_kept_promise_rules_out_is_given_up():
    model, x, y = linear_case(10)
    eps = 0.2 * float(exact_radius(model, x, y, "linf").min())
    result = APGD(eps=eps, steps=100, restarts=1, loss="targeted_dlr", targets=3)(model, x, y)
    assert not result.success.any()
    # The gradient of a linear model is right everywhere: every climb ends at the first look.
    assert result.backwards == (100 // 9 + 1) * 3 * len(x)
    whole = APGD(eps=eps, steps=100, restarts=1)(model, x, y)
    assert whole.backwards == 100 * len(x)  # in float32 it does not resolve such a rise


class _Cliff(nn.Module):
    """Nearly flat, and then a steep rise that no gradient before it foretells."""

    def forward(self, x):
        rise = 1e-4 * x + 2 * torch.sigmoid(1e3 * (x - 0.585))
        return torch.cat([torch.ones_like(rise), rise, torch.zeros_like(x)], 1)


def test_a_promise_that_was_not_kept_rules_nothing_out():
    x, y = torch.tensor([[0.5]]), torch.tensor([0])
    cliff = APGD(eps=0.09, steps=50, restarts=1, loss="margin")(_Cliff(), x, y)
    assert cliff.success.all()
    # Out of reach, but half way up: far more was gained than the gradient had promised.
    foot = APGD(eps=0.0845, steps=50, restarts=1, loss="margin")(_Cliff(), x, y)
    assert not foot.success.any()
    assert foot.backwards == 50


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_l1_succeeds_exactly_where_a_linear_model_can_be_fooled(loss):
    model, x, _ = linear_case(2, count=60, dtype=torch.float64)
    x = x + 0.3 * (x - 0.5)  # nearer to the ends of [0, 1]
    y = model(x).argmax(1)
    exact = sparse_radius(model, x, "l1")
    for eps in exact.quantile(torch.tensor([0.3, 0.7]).double()).tolist():
        result = APGD(norm="l1", eps=eps, steps=50, restarts=1, loss=loss)(model, x, y)
        clear = (exact / eps - 1).abs() > 0.01
        assert torch.equal(result.success[clear], (exact <= eps)[clear])
        assert geometry.size(result.x_adv - x, "l1").max() <= eps * (1 + 1e-9)


def test_l1_is_stronger_than_pgd_on_a_curved_model():
    model, x, y = curved_case(count=100)
    eps = 1.0
    left = APGD(norm="l1", eps=eps, restarts=1)(model, x, y).robust_accuracy
    assert left <= PGD(norm="l1", eps=eps, steps=100, restarts=1)(model, x, y).robust_accuracy
    assert 0.05 < left < 0.8


def test_few_steps_in_l1():
    model, x, y = curved_case()
    for steps in (1, 2, 3, 10):
        result = APGD(norm="l1", eps=0.8, steps=steps, restarts=1)(model, x, y)
        assert geometry.size(result.x_adv - x, "l1").max() <= 0.8 * (1 + 1e-5)


def test_the_cross_entropy_is_given_up_by_the_odds_and_loses_no_image(monkeypatch):
    model, x, y = curved_case()
    attack = APGD(eps=0.03, steps=60, restarts=1)
    given = attack(model, x, y)
    monkeypatch.setattr(APGD, "_stop_hopeless", lambda *_: None)
    taken = attack(model, x, y)
    assert torch.equal(given.success, taken.success)
    assert given.backwards < 0.8 * taken.backwards


@pytest.mark.parametrize("loss", [1e-3, 0.5, 3.0])
def test_the_odds_are_those_against_the_label_and_so_is_their_gradient(loss):
    value = torch.tensor([loss], dtype=torch.float64, requires_grad=True)
    odds = (value.exp() - 1).log()
    (slope,) = torch.autograd.grad(odds, value)
    found, gradient = APGD(eps=0.1)._on_success(value.detach(), torch.ones(1, 1).double())
    torch.testing.assert_close(found, odds.detach())
    torch.testing.assert_close(gradient.squeeze(1), slope)
    # A label that is not predicted has at most half of the probability.
    assert (found >= 0) == (loss >= math.log(2))
