import pytest
import torch

from narrows.attacks import PGD, MultiTargeted
from narrows.errors import ConfigError
from scenarios_attacks import curved_case, exact_radius, linear_case


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.08)])
@pytest.mark.parametrize("classes", [2, 6])
def test_succeeds_exactly_beyond_the_exact_radius(norm, eps, classes):
    # Towards one class at a time a linear model has no local maximum: one restart finds everything.
    model, x, y = linear_case(classes, dtype=torch.float64)
    radius = exact_radius(model, x, y, norm)
    result = MultiTargeted(norm=norm, eps=eps, steps=20, restarts=1)(model, x, y)
    assert not result.success[radius > eps].any()
    assert result.success[radius < 0.99 * eps].all()
    assert 20 < result.success.sum() < 195


def test_two_classes_are_pgd_on_the_margin():
    model, x, y = linear_case(2, dtype=torch.float64)
    ours = MultiTargeted(eps=0.02, steps=10, restarts=2)(model, x, y)
    pgd = PGD(eps=0.02, steps=10, restarts=2, loss="margin")(model, x, y)
    assert torch.equal(ours.x_adv, pgd.x_adv)


def test_each_restart_goes_towards_every_class_of_what_is_left():
    model, x, y = linear_case(5)
    result = MultiTargeted(eps=1e-6, steps=3, restarts=2)(model, x, y)
    assert not result.success.any()
    assert result.backwards == 3 * 2 * 4 * len(x)


def test_finds_all_that_pgd_finds():
    model, x, y = curved_case(200)
    pgd = PGD(eps=0.1, steps=20, restarts=3)(model, x, y)
    ours = MultiTargeted(eps=0.1, steps=20, restarts=3)(model, x, y)
    assert ours.success.sum() >= pgd.success.sum()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"restarts": 0}, "restarts must be at least 1"),
        ({"step_size": -1.0}, "step_size must be finite and larger than 0"),
    ],
)
def test_refuses_what_means_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        MultiTargeted(**wrong)
