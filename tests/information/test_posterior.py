import math

import pytest
import torch
from torch.distributions import Normal

from narrows.data.twelve_bit import joint, patterns
from narrows.errors import InputError
from narrows.information import achievable_region, kde_bounds, posterior_information
from scenarios import generator

LABELS = torch.tensor([0, 0, 1, 2])


def codes(n=4, k=1, seed=0):
    draw = generator(seed)
    mean = 2 * torch.randn(n, k, dtype=torch.float64, generator=draw)
    return mean, 0.3 + torch.rand(n, k, dtype=torch.float64, generator=draw)


def integrals(mean, scale, p_yx):
    """Both informations of one coordinate by quadrature."""
    grid = torch.linspace(-20, 20, 20001, dtype=torch.float64)[:, None]
    p_zx = Normal(mean[:, 0], scale[:, 0]).log_prob(grid).exp()
    p_z = p_zx.mean(1)
    rate = torch.special.xlogy(p_zx, p_zx / p_z[:, None]).mean(1)
    p_zy = p_zx @ p_yx / len(mean)
    terms = torch.special.xlogy(p_zy, p_zy / (p_z[:, None] * p_yx.mean(0))).nan_to_num()
    return [torch.trapezoid(f, grid[:, 0]).item() for f in (rate, terms.sum(1))]


@pytest.mark.parametrize("soft", [False, True])
def test_both_equal_their_integrals_within_the_standard_error(soft):
    mean, scale = codes()
    p_yx = torch.nn.functional.one_hot(LABELS).double()
    if soft:
        p_yx = 0.8 * p_yx + 0.2 / 3
    found = posterior_information(mean, scale, p_yx if soft else LABELS, 4000, generator(1))
    for estimate, truth in zip(found, integrals(mean, scale, p_yx), strict=True):
        assert abs(estimate.nats - truth) < 4 * estimate.std_error
        assert 0 < estimate.std_error < 0.02


def test_the_standard_error_is_the_spread_of_repeated_estimates():
    mean, scale = codes(40, 3)
    y = torch.arange(40) % 3
    found = [posterior_information(mean, scale, y, 2, generator(seed)) for seed in range(60)]
    for axis in (0, 1):
        spread = torch.tensor([pair[axis].nats for pair in found]).std().item()
        said = sum(pair[axis].std_error for pair in found) / len(found)
        assert said == pytest.approx(spread, rel=0.35)


def test_the_pairwise_bounds_enclose_it():
    mean, scale = codes(50, 4)
    lower, upper = kde_bounds(mean, scale)
    rate, _ = posterior_information(mean, scale, torch.arange(50) % 5, 200, generator(0))
    assert lower.nats - 3 * rate.std_error < rate.nats < upper.nats + 3 * rate.std_error


def test_no_code_of_the_twelve_bits_is_above_the_exact_curve():
    p_xy = joint()
    region = achievable_region(p_xy)
    p_yx = p_xy / p_xy.sum(1, keepdim=True)
    for width in (0.2, 1.0, 3.0):
        mean = patterns().double() @ torch.randn(12, 2, dtype=torch.float64, generator=generator(3))
        rate, relevance = posterior_information(mean, width, p_yx, 2, generator(0))
        slack = 4 * (rate.std_error + relevance.std_error)
        assert relevance.nats <= region.bound([rate.nats]).item() + slack


def test_blocks_change_nothing():
    mean, scale = codes(30, 2)
    y = torch.arange(30) % 2
    whole = posterior_information(mean, scale, y, generator=generator(0))
    parts = posterior_information(mean, scale, y, generator=generator(0), block=7)
    assert [one.nats for one in whole] == pytest.approx([one.nats for one in parts], rel=1e-12)


def test_far_codes_say_everything_and_equal_ones_nothing():
    y = torch.tensor([0, 1, 1, 1])
    far = posterior_information(1e3 * torch.arange(4.0)[:, None], 1.0, y)
    entropy = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert [one.nats for one in far] == pytest.approx([math.log(4), entropy])
    assert far[0].diagnostics["saturated"]
    same = posterior_information(torch.zeros(4, 1), 1.0, y)
    assert [one.nats for one in same] == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draws": 1}, "draws must be at least 2"),
        ({"y": torch.tensor([0.5, 0.5])}, "y must be integers"),
        ({"y": torch.full((4, 2), 0.6)}, "off by 0.2"),
        ({"y": torch.tensor([[1.5, -0.5]] * 4)}, "not be negative"),
        ({"scale": 0.0}, "larger than 0"),
        ({"mean": torch.full((4, 1), math.nan)}, "NaN"),
    ],
)
def test_bad_input_is_named(change, message):
    mean, scale = codes()
    given = {"mean": mean, "scale": scale, "y": LABELS} | change
    with pytest.raises(InputError, match=message):
        posterior_information(**given)


@pytest.mark.parametrize("pair", [(-1, 1), (0, 2 * 10**9), (5, 3)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_labels_may_be_any_integers(pair, dtype):
    mean, scale = codes(40, 2)
    plain = torch.arange(40) % 2
    named = torch.where(plain == 0, *(torch.tensor(label) for label in pair)).to(dtype)
    for found, expected in zip(
        posterior_information(mean, scale, named, generator=generator(0)),
        posterior_information(mean, scale, plain, generator=generator(0)),
        strict=True,
    ):
        assert found.nats == pytest.approx(expected.nats, rel=1e-12)


def test_one_hot_labels_are_probabilities_and_a_column_of_labels_is_refused():
    mean, scale = codes(40, 2)
    y = torch.arange(40) % 3
    hot = torch.nn.functional.one_hot(y)
    found, expected = (
        posterior_information(mean, scale, labels, generator=generator(0)) for labels in (hot, y)
    )
    assert [pair.nats for pair in found] == [pair.nats for pair in expected]
    with pytest.raises(InputError, match=r"y.squeeze\(1\)"):
        posterior_information(mean, scale, y[:, None])


def test_probabilities_in_half_precision_are_taken_for_what_they_mean():
    mean, scale = codes(40, 2)
    table = torch.randn(40, 7, generator=generator(0)).softmax(1).double()
    found, expected = (
        posterior_information(mean, scale, p, generator=generator(0))[1].nats
        for p in (table.half(), table)
    )
    assert found == pytest.approx(expected, rel=1e-2)
