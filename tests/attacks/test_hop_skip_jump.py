"""HopSkipJump against exact distances, and against models whose logits tell nothing."""

import pytest
import torch
from torch import Tensor, nn

from narrows.attacks import FAB, HopSkipJump
from narrows.errors import ConfigError
from scenarios_attacks import Labels, curved_case, exact_radius, linear_case


class Rounded(nn.Module):
    """Another model behind images of 8 bits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model((255 * x).round() / 255)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("classes", [2, 4])
def test_it_converges_to_the_exact_distance(norm, classes):
    model, x, y = linear_case(classes, count=40)
    result = HopSkipJump(norm=norm, queries=4000)(model, x, y)
    ratio = result.distance / exact_radius(model, x, y, norm)
    assert ratio.min() >= 1 - 1e-3
    assert ratio.median() < (1.02 if classes == 2 else 1.1)
    if classes == 2:
        assert ratio.max() < 1.06


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_nothing_but_labels_is_read(norm):
    model, x, y = curved_case()
    attack = HopSkipJump(norm=norm, queries=300, probes=30)
    expected = attack(model, x, y)
    result = attack(Labels(model), x, y)
    assert torch.equal(result.x_adv, expected.x_adv)
    assert torch.equal(result.distance, expected.distance)
    assert result.backwards == 0


def test_it_comes_near_fab_on_a_curved_model():
    model, x, y = curved_case()
    nearest = FAB(norm="l2", restarts=1)(model, x, y).distance
    result = HopSkipJump(norm="l2", queries=2000)(model, x, y)
    assert result.success.all()
    assert result.distance.median() < 1.15 * nearest.median()


def test_rounded_images_are_no_obstacle():
    model, x, y = linear_case(2, count=40)
    result = HopSkipJump(norm="l2", queries=3000)(Rounded(model), x, y)
    ratio = result.distance / exact_radius(model, x, y, "l2")
    assert ratio.median() < 1.15


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_within_a_radius_it_stops_early_and_stays_inside(norm):
    model, x, y = linear_case(2, count=60)
    exact = exact_radius(model, x, y, norm)
    eps = exact.median().item()
    attack = HopSkipJump(norm=norm, queries=3000)
    whole, inside = attack(model, x, y), HopSkipJump(norm=norm, queries=3000, eps=eps)(model, x, y)
    assert inside.forwards < 0.8 * whole.forwards
    assert inside.success[exact < 0.9 * eps].all()
    assert not inside.success[exact > eps * 1.001].any()
    size = (inside.x_adv - x).flatten(1)
    size = size.abs().amax(1) if norm == "linf" else size.norm(dim=1)
    assert size.max() <= eps * (1 + 1e-5)


def test_no_image_takes_more_queries_than_it_may():
    model, x, y = linear_case(3, count=30)
    for queries in (1, 50, 500):
        result = HopSkipJump(queries=queries)(model, x, y)
        # The starting points and two verdicts come in any case.
        assert result.forwards <= 30 * max(queries + 5, 10) + 100


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="eps must lie in"):
        HopSkipJump(eps=8.0)
    with pytest.raises(ConfigError, match="queries"):
        HopSkipJump(queries=0)
    with pytest.raises(ConfigError, match="probes"):
        HopSkipJump(probes=0)


def test_a_model_that_never_changes_its_mind_is_not_fooled():
    model, x, _ = linear_case(3, count=10)
    model.layer.bias.data[1] += 1e6
    y = torch.ones(10, dtype=torch.int64)
    result = HopSkipJump(queries=300)(model, x, y)
    assert not result.success.any()
    assert torch.equal(result.x_adv, x)
    mixed = HopSkipJump(queries=300)(model, x, torch.arange(10) % 2)
    assert mixed.success.tolist() == [True, False] * 5


def test_a_single_image_of_any_shape():
    torch.manual_seed(0)
    for shape in ((7,), (3, 5, 5), (2, 3)):
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(4))
        x = torch.rand(1, *shape)
        y = model(x).argmax(1)
        result = HopSkipJump(queries=300)(model, x, y)
        assert result.success.all()
        assert result.x_adv.shape == x.shape
