import math

import numpy as np
import pytest
import torch
from torch import nn

from narrows.attacks import Square, _random_search
from narrows.attacks.losses import margin
from narrows.attacks.norms import size
from narrows.attacks.square import _move_energy, _recolour, _stripes, _Window, bump, plane, share
from narrows.errors import ConfigError
from scenarios_attacks import Counting, NoisyInput, curved_case, exact_radius, linear_case


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.08), ("l1", 0.5)])
@pytest.mark.parametrize("classes", [2, 5])
def test_finds_what_is_well_within_reach_and_nothing_else(norm, eps, classes):
    model, x, y = linear_case(classes)
    radius = exact_radius(model, x, y, norm)
    result = Square(norm=norm, eps=eps, queries=1000)(model, x, y)
    assert not result.success[radius > eps * (1 + 1e-5)].any()
    # On 4 x 5 pixels bumps, at least 3 x 3, cannot take every direction, least of all those of L1.
    near = (4 if norm == "l1" else 1.5) * radius < eps
    found = result.success[near].double().mean()
    assert near.sum() > 20
    assert found == 1 if norm == "linf" else found > 0.97
    assert result.backwards == 0


class Stairs(nn.Module):
    """A linear classifier of rounded pixels: its gradient is zero, or there is none."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x):
        with torch.no_grad():
            return self.model((x * 200).round() / 200)


def test_needs_no_gradient():
    model, x, y = linear_case(3)
    near = exact_radius(model, x, y, "linf") < 0.02
    result = Square(eps=0.05, queries=500)(Stairs(model), x[near], y[near])
    assert result.success.all()


def test_schedule_is_the_papers_rescaled():
    def of_the_paper(query):  # section 4.1: p is halved at these of 10,000 queries
        return 0.8 / 2 ** sum(query > m for m in [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])

    for queries in (500, 5000):
        for step in range(0, queries, 7):
            assert share(0.8, step / queries) == of_the_paper(step * 10_000 / queries)
    assert share(0.8, 1.0) == 0.8 / 512


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((2, 3, 5, 7), (5, 7)), ((2, 784), (28, 28)), ((2, 12), (1, 12)), ((2, 5, 7), (5, 7))],
)
def test_every_shape_has_a_plane(shape, expected):
    assert plane(torch.Size(shape)) == expected


@pytest.mark.parametrize(
    ("p", "size", "norm", "expected"),
    [
        (0.8, (28, 28), "linf", 25 * 25),
        (0.001, (28, 28), "linf", 1),
        (0.001, (28, 28), "l2", 9),
        (0.04, (28, 28), "l2", 49),  # 5.6 -> 6 -> 7
        (0.5, (1, 12), "linf", 6),
        (0.8, (4, 20), "linf", 4 * 16),
        (1.0, (2, 2), "l2", 4),
        (0.01, (1, 12), "l2", 3),
    ],
)
def test_windows_cover_their_share_and_lie_inside(p, size, norm, expected):
    window = _Window.covering(p, size, norm, torch.float32)
    assert window.offsets.numel() == expected
    uniform = torch.rand(9000, 2, generator=torch.Generator().manual_seed(0))
    uniform[0], uniform[1] = 0, 1 - 2**-24
    places = window.places(uniform, 3)
    assert places.shape == (9000, 3, expected)
    assert places.min() >= 0
    assert places.max() == size[0] * size[1] - 1
    assert set(places[:, 0].flatten().tolist()) == set(range(size[0] * size[1]))
    assert all(len(set(place.tolist())) == expected for place in places[:20, 0])


def by_equation_2(h1, h2):
    """Half of the bump, with the sum over k of eq. 2 written out."""
    out, n = np.zeros((h1, h2)), max(h1, h2) // 2
    for r in range(h1):
        for s in range(h2):
            m = n - max(abs(r - h1 // 2), abs(s - h2 // 2))
            out[r, s] = sum(1 / (n + 1 - k) ** 2 for k in range(m + 1))
    return out / np.linalg.norm(out)


@pytest.mark.parametrize("h", [3, 5, 9])
def test_bump_is_equation_2(h):
    left, right = by_equation_2(h, h // 2), by_equation_2(h, h - h // 2)
    expected = np.concatenate([left, -right], 1) / math.sqrt(2)
    np.testing.assert_allclose(bump(h, h).numpy(), expected, rtol=1e-5)


def test_bumps_of_l1_are_steeper_and_of_l1_size_one():
    wide, steep = bump(9, 9), bump(9, 9, "l1")
    assert steep.abs().sum().item() == pytest.approx(1)
    assert steep.abs().max() / steep.abs().sum() > 1.5 * wide.abs().max() / wide.abs().sum()
    assert torch.equal(steep.sign(), wide.sign())


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 6), (6, 1), (2, 5)])
def test_bumps_of_any_shape_have_norm_one(h, w):
    assert bump(h, w).shape == (h, w)
    assert bump(h, w).norm().item() == pytest.approx(1)


def test_stripes_are_columns_of_full_size():
    x = torch.full((20, 3, 6 * 5), 0.5)
    start = _stripes(x, 0.1, (6, 5), torch.Generator().manual_seed(0)).view(20, 3, 6, 5)
    assert torch.equal(start, start[:, :, :1].expand_as(start))
    torch.testing.assert_close((start - 0.5).abs(), torch.full_like(start, 0.1))
    assert start.unique().numel() == 2


def test_a_new_colour_fills_one_window_and_always_changes_something():
    generator = torch.Generator().manual_seed(0)
    x = torch.full((300, 1, 49), 0.5)
    window = _Window.covering(9 / 49, (7, 7), "linf", x.dtype)
    best = x + 0.1
    after = _recolour(best, x, 0.1, window, generator)
    changed = (after != best).view(300, 7, 7)
    assert (changed.flatten(1).sum(1) == 9).all()
    assert (changed.any(1).sum(1) == 3).all()
    assert after[changed.view_as(after)].unique().tolist() == pytest.approx([0.4])


@pytest.mark.parametrize(("norm", "p"), [("l2", 2), ("l1", 1)])
def test_energy_moves_and_none_is_lost(norm, p):
    generator = torch.Generator().manual_seed(0)
    x = torch.full((200, 2, 81), 0.5, dtype=torch.float64)
    delta = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    delta = 0.3 * delta / size(delta, norm)[:, None, None]
    window = _Window.covering(0.1, (9, 9), norm, x.dtype)
    after = _move_energy(x + delta, x, 0.3, norm, window, generator)
    torch.testing.assert_close(size(after - x, norm), torch.full((200,), 0.3, dtype=x.dtype))
    changed = ((after - x - delta).abs() > 1e-9).sum(2)
    assert changed.min() >= 9
    assert changed.max() <= 18
    # Each channel keeps the energy that it had.
    torch.testing.assert_close((after - x).abs().pow(p).sum(2), delta.abs().pow(p).sum(2))


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.08)])
def test_inputs_that_are_flat_are_attacked_too(norm, eps):
    model, x, y = linear_case(2)  # 20 inputs, a line
    near = 2 * exact_radius(model, x, y, norm) < eps
    result = Square(norm=norm, eps=eps, queries=500)(model, x[near].flatten(1), y[near])
    assert result.success.double().mean() > 0.9
    assert near.sum() > 20


def test_more_queries_find_more_and_cost_no_more_than_they_say():
    model, x, y = curved_case(100)
    few, many = (Square(eps=0.1, queries=queries)(model, x, y) for queries in (5, 200))
    assert many.success.sum() > few.success.sum()
    assert few.forwards <= 5 * 100 + 2 * 100 + 16


def test_against_noise_the_search_goes_on_to_its_end():
    model, x, y = linear_case(2)
    near = exact_radius(model, x, y, "linf") < 0.03
    model, x, y = NoisyInput(model, 0.05), x[near], y[near]
    result = Square(eps=0.1, queries=100, draws=2)(model, x, y)
    assert result.success.double().mean() > 0.9
    assert result.fooled_rate.mean() > 0.8


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"queries": 0}, "queries must be at least 1"),
        ({"p_init": 0.0}, "p_init must be finite, larger than 0 and at most 1, got 0"),
        ({"p_init": float("nan")}, "p_init must be finite"),
    ],
)
def test_refuses_what_means_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        Square(**wrong)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_windows_side_by_side_cost_no_query_more_and_lead_as_far(norm, monkeypatch):
    model, x, y = curved_case()
    model.eval()
    safe = margin(model(x), y) < -1
    x, y = x[safe][:8], y[safe][:8]
    attack = Square(norm=norm, eps=0.004, queries=1103)
    ends = {}
    for count in (1, 4):
        monkeypatch.setattr(_random_search, "_SIDE_BY_SIDE", count)
        counting = Counting(model)
        result = attack(counting, x, y)
        assert not result.success.any()
        # Three passes over the images and perturbed ones at the entrance, and over one of them; a
        # verdict before and one after; and two passes at the end over what was moved.
        entrance = 3 * 2 * len(x) + 1
        assert counting.forwards == result.forwards == (1103 + 2 + 2) * len(x) + entrance
        gain = margin(model(result.x_adv), y) - margin(model(x), y)
        assert (gain > 0).all()
        ends[count] = gain.mean().item()
    assert ends[4] > 0.98 * ends[1]
