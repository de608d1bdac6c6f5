"""The boundary attack against exact distances, by labels alone."""

import pytest
import torch

from narrows.attacks import FAB, BoundaryAttack
from narrows.errors import ConfigError
from scenarios_attacks import Labels, curved_case, exact_radius, linear_case


@pytest.mark.parametrize("classes", [2, 4])
def test_it_converges_to_the_exact_distance(classes):
    model, x, y = linear_case(classes, count=40)
    result = BoundaryAttack(queries=1800)(model, x, y)
    ratio = result.distance / exact_radius(model, x, y, "l2")
    assert ratio.min() >= 1 - 1e-3
    assert ratio.median() < (1.01 if classes == 2 else 1.1)
    if classes == 2:
        assert ratio.max() < 1.05


def test_nothing_but_labels_is_read():
    model, x, y = curved_case()
    expected = BoundaryAttack(queries=300)(model, x, y)
    result = BoundaryAttack(queries=300)(Labels(model), x, y)
    assert torch.equal(result.x_adv, expected.x_adv)
    assert result.backwards == 0


def test_it_comes_near_fab_on_a_curved_model():
    model, x, y = curved_case()
    nearest = FAB(norm="l2", restarts=1)(model, x, y).distance
    result = BoundaryAttack(queries=1000)(model, x, y)
    assert result.success.all()
    assert result.distance.median() < 1.15 * nearest.median()


def test_within_a_radius_it_stops_early_and_stays_inside():
    model, x, y = linear_case(2, count=60)
    exact = exact_radius(model, x, y, "l2")
    eps = exact.median().item()
    inside = BoundaryAttack(queries=1500, eps=eps)(model, x, y)
    assert inside.success[exact < 0.95 * eps].all()
    assert not inside.success[exact > eps * 1.001].any()
    assert (inside.x_adv - x).flatten(1).norm(dim=1).max() <= eps * (1 + 1e-5)
    assert inside.forwards < 0.8 * 60 * 1500


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="norm"):
        BoundaryAttack(norm="linf")
    with pytest.raises(ConfigError, match="source_step"):
        BoundaryAttack(source_step=0.7)
    with pytest.raises(ConfigError, match="spherical_step"):
        BoundaryAttack(spherical_step=0.0)


def test_a_model_that_never_changes_its_mind_is_not_fooled():
    model, x, _ = linear_case(3, count=10)
    model.layer.bias.data[1] += 1e6
    y = torch.ones(10, dtype=torch.int64)
    result = BoundaryAttack(queries=300)(model, x, y)
    assert not result.success.any()
    assert torch.equal(result.x_adv, x)
    mixed = BoundaryAttack(queries=300)(model, x, torch.arange(10) % 2)
    assert mixed.success.tolist() == [True, False] * 5


def test_a_single_image_of_any_shape():
    torch.manual_seed(0)
    for shape in ((7,), (3, 5, 5), (2, 3)):
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(4))
        x = torch.rand(1, *shape)
        y = model(x).argmax(1)
        result = BoundaryAttack(queries=300)(model, x, y)
        assert result.success.all()
        assert result.x_adv.shape == x.shape
