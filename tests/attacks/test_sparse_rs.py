import pytest
import torch

from narrows.attacks import PGD, MinimalEps, SparseRS
from narrows.attacks.norms import pixels, size
from narrows.attacks.sparse_rs import exchanged_share
from narrows.errors import ConfigError
from scenarios_attacks import Labels, curved_case, linear_case, sparse_radius


@pytest.mark.parametrize("eps", [1, 2])
def test_finds_what_a_linear_model_allows_and_nothing_else(eps):
    model, x, y = linear_case(2)
    exact = sparse_radius(model, x, "l0")
    result = SparseRS(eps=eps, queries=1000)(model, x, y)
    assert not result.success[exact > eps].any()
    assert result.success[exact <= eps].double().mean() > 0.95
    assert (exact <= eps).sum() > 20
    assert result.backwards == 0


def test_a_changed_pixel_has_all_its_channels_and_its_colours_are_corners():
    torch.manual_seed(0)
    x = 0.2 + 0.6 * torch.rand(30, 3, 4, 4)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5))
    y = model(x).argmax(1)
    result = SparseRS(eps=3, queries=100)(model, x, y)
    changed = result.x_adv != x
    assert pixels(changed).sum(1).max() == 3
    assert changed.flatten(2).any(1).sum() * 3 == changed.sum()
    assert result.x_adv[changed].unique().tolist() == [0, 1]


def test_with_all_pixels_the_search_goes_on_among_colours():
    model, x, y = linear_case(2, count=50)
    result = SparseRS(eps=20, queries=50)(model, x, y)
    assert result.success.all()
    assert size(result.x_adv - x, "l0").max() == 20
    few = SparseRS(eps=20, queries=1)(model, x, y)
    assert not few.success.all()


def test_schedule_is_the_papers_rescaled():
    expected = {0: 1, 50: 2, 51: 4, 200: 4, 201: 5, 501: 6, 1001: 8, 2001: 10, 4001: 12}
    for query, divisor in {**expected, 6001: 15, 8001: 20}.items():
        assert exchanged_share(0.3, query / 10_000) == 0.3 / divisor


def test_is_as_strong_as_gradients_on_a_curved_model():
    model, x, y = curved_case()
    eps = 2
    searched = SparseRS(eps=eps, queries=1000)(model, x, y).robust_accuracy
    climbed = PGD(norm="l0", eps=eps, steps=50, restarts=2)(model, x, y).robust_accuracy
    assert searched <= climbed


def test_labels_alone_are_enough_to_search_on():
    model, x, y = linear_case(3)
    assert SparseRS(eps=5, queries=300)(Labels(model), x, y).success.double().mean() > 0.5


def test_fewest_pixels_by_bisection():
    model, x, y = linear_case(2, count=40)
    attack = SparseRS(eps=16, queries=500)
    result = MinimalEps(attack=attack, levels=4)(model, x, y)
    assert (result.distance >= sparse_radius(model, x, "l0")).all()
    assert (result.distance == sparse_radius(model, x, "l0")).double().mean() > 0.9


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"eps": 0.5}, "eps is a whole number of pixels, got 0.5"),
        ({"norm": "l2"}, "SparseRS takes norm l0, got 'l2'"),
        ({"alpha_init": 0.0}, "alpha_init must be finite, larger than 0 and at most 1"),
    ],
)
def test_refuses_what_means_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        SparseRS(**wrong)
