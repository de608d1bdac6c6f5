import pytest
import torch
from torch import nn

from narrows.attacks import APGD, FGSM, PGD, MinimalEps
from narrows.attacks.losses import cross_entropy
from narrows.attacks.query import Query
from narrows.errors import ConfigError
from scenarios_attacks import NoisyInput, curved_case, exact_radius, linear_case, sparse_radius

BOTH = [("linf", 0.02), ("l2", 0.08)]


@pytest.mark.parametrize(("norm", "eps"), BOTH)
def test_succeeds_exactly_beyond_the_exact_radius(norm, eps):
    model, x, y = linear_case(2, dtype=torch.float64)
    radius = exact_radius(model, x, y, norm)
    result = PGD(norm=norm, eps=eps, steps=20, restarts=2)(model, x, y)
    assert torch.equal(result.success, radius < eps)
    assert 20 < result.success.sum() < 180
    fooled = result.success
    assert (result.distance[fooled] >= radius[fooled]).all()


@pytest.mark.parametrize(("norm", "eps"), BOTH)
@pytest.mark.parametrize(("loss", "share"), [("cross_entropy", 0.9), ("margin", 0.98)])
def test_of_many_classes_it_finds_what_is_in_reach_and_nothing_else(norm, eps, loss, share):
    model, x, y = linear_case(5, dtype=torch.float64)
    radius = exact_radius(model, x, y, norm)
    result = PGD(norm=norm, eps=eps, steps=20, restarts=5, loss=loss)(model, x, y)
    assert not result.success[radius > eps].any()
    # Not all of it: the loss climbs several classes at once and has local maxima.
    assert result.success[radius < 0.98 * eps].double().mean() > share


def by_hand(attack: PGD, model: nn.Module, image: torch.Tensor, label: torch.Tensor):
    """One restart from the image itself, one image, straight from the formula."""
    assert attack.step_size
    x, best, best_loss = image.clone(), image.clone(), -float("inf")
    for step in range(attack.steps + 1):
        x.requires_grad_()
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, label)
        if logits.argmax() != label:
            return x.detach()
        if loss > best_loss:
            best, best_loss = x.detach().clone(), loss.detach()
        if step == attack.steps:
            return best
        (g,) = torch.autograd.grad(loss, x)
        x = x.detach() + attack.step_size * (g.sign() if attack.norm == "linf" else g / g.norm())
        delta = x - image
        if attack.norm == "linf":
            delta = delta.clamp(-attack.eps, attack.eps)
        else:
            delta = delta * min(1.0, attack.eps / delta.norm().item())
        x = (image + delta).clamp(0, 1)
    raise AssertionError


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.08), ("l2", 0.25)])
def test_equals_the_slow_twin(norm, eps):
    model, x, y = curved_case(dtype=torch.float64)
    # Steps this long overshoot, so that the best iterate is not the last.
    attack = PGD(norm=norm, eps=eps, steps=6, restarts=1, step_size=eps / 1.5)
    result = attack(model, x, y)
    model.eval()
    twin = torch.cat([by_hand(attack, model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(result.x_adv, twin)
    assert 5 <= result.success.sum() <= 35


def test_returns_the_highest_loss_of_all_restarts_where_it_fails():
    model, x, y = curved_case()
    losses = []
    for restarts in (1, 4):
        result = PGD(eps=0.03, steps=5, restarts=restarts)(model, x, y)
        with torch.no_grad():
            losses.append(cross_entropy(model.eval()(result.x_adv), y)[~result.success])
    assert len(losses[0]) == len(losses[1]) >= 10
    assert (losses[1] >= losses[0] - 1e-6).all()
    assert (losses[1] > losses[0]).any()


def test_restarts_find_more_and_cost_only_what_is_left():
    model, x, y = curved_case(400)
    few, many = (PGD(eps=0.15, steps=3, restarts=n)(model, x, y) for n in (1, 20))
    assert not (few.success & ~many.success).any()
    assert many.success.sum() > few.success.sum()
    left = int((~few.success).sum())
    assert many.backwards - few.backwards <= 19 * 3 * left


@pytest.mark.parametrize("chunk", [512, 1])
def test_side_by_side_and_one_after_another_are_equally_strong(chunk):
    model, x, y = curved_case(40)
    robust = PGD(eps=0.1, steps=5, restarts=10, chunk=chunk)(model, x, y).robust_accuracy
    assert robust == pytest.approx(PGD(eps=0.1, steps=50)(model, x, y).robust_accuracy, abs=0.05)


def test_fooled_images_leave_at_once():
    model, x, y = linear_case(2)
    near = exact_radius(model, x, y, "linf") < 0.005
    x, y = x[near], y[near]
    result = PGD(eps=0.1, steps=20, step_size=0.006)(model, x, y)
    assert result.success.all()
    # One gradient at the image; the step that it causes is over the boundary at the next look.
    assert result.backwards == 2 * len(x)


def test_does_no_worse_than_one_step():
    model, x, y = curved_case()
    one = FGSM(eps=0.1)(model, x, y)
    assert PGD(eps=0.1, restarts=2)(model, x, y).success.sum() >= one.success.sum()


@pytest.mark.parametrize("draws", [1, 8])
def test_a_lucky_draw_does_not_end_the_search(draws):
    # Noise as large as the margin: at every step some draw is fooled. An attack that stopped there
    # would leave its images near their start.
    model, x, y = linear_case(2)
    near = exact_radius(model, x, y, "linf") < 0.03
    model, x, y = NoisyInput(model, 0.15), x[near], y[near]
    result = PGD(eps=0.06, steps=10, restarts=1, draws=draws)(model, x, y)
    assert result.success.all()
    assert result.fooled_rate[result.distance > 0].min() > 0.6


def test_draws_are_averaged_for_stochastic_models_only():
    model, x, y = curved_case()
    plain, averaged = (PGD(eps=0.1, steps=3, draws=draws)(model, x, y) for draws in (1, 9))
    assert torch.equal(plain.x_adv, averaged.x_adv)
    assert plain.backwards == averaged.backwards
    query = Query(NoisyInput(model.eval(), 1.0), y, stochastic=True, draws=9)
    query.ascend(x, torch.arange(len(x)), cross_entropy)
    assert (query.forwards, query.backwards) == (9 * len(x), 9 * len(x))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"restarts": 0}, "restarts must be at least 1"),
        ({"step_size": 0.0}, "step_size must be finite and larger than 0, got 0"),
        ({"step_size": float("nan")}, "step_size must be finite and larger than 0, got nan"),
        ({"loss": "mse"}, "unknown attack loss 'mse'"),
    ],
)
def test_refuses_what_means_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        PGD(**wrong)


@pytest.mark.parametrize("norm", ["l1", "l0"])
def test_sparse_attacks_succeed_exactly_where_a_linear_model_can_be_fooled(norm):
    model, x, _ = linear_case(2, count=60, dtype=torch.float64)
    x = x + 0.3 * (x - 0.5)  # nearer to the ends of [0, 1]
    y = model(x).argmax(1)
    exact = sparse_radius(model, x, norm)
    for eps in (1.0,) if norm == "l0" else exact.quantile(torch.tensor([0.3, 0.7]).double()):
        attack = PGD(norm=norm, eps=float(eps), steps=100, restarts=1)
        result = attack(model, x, y)
        clear = (exact - eps).abs() > (0.02 * eps if norm == "l1" else -1)
        assert torch.equal(result.success[clear], (exact <= eps)[clear])
        assert 5 < result.success.sum() < 60


def test_the_fewest_pixels():
    model, x, _ = linear_case(2, count=40, dtype=torch.float64)
    model.layer.bias.data[0] += 3
    x[::2] = 0.4 * x[::2]
    y = model(x).argmax(1)
    result = MinimalEps(attack=PGD(norm="l0", eps=16, restarts=1), levels=4)(model, x, y)
    assert torch.equal(result.distance, sparse_radius(model, x, "l0"))
    assert len(result.distance.unique()) > 2


def test_l0_counts_whole_pixels():
    with pytest.raises(ConfigError, match="whole number of pixels"):
        PGD(norm="l0", eps=0.1)
    with pytest.raises(ConfigError, match="at most 4 in L0"):
        PGD(norm="l0", eps=5)(torch.nn.Linear(4, 2), torch.rand(3, 4), torch.tensor([0, 1, 0]))
    with pytest.raises(ConfigError, match="takes norm linf or l2 or l1, got 'l0'"):
        APGD(norm="l0", eps=1)
