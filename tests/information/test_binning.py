import math
from collections import Counter

import numpy as np
import pytest
import torch

from narrows.errors import InputError
from narrows.information import bin_codes, binned_rate, binned_relevance
from scenarios import GaussianChannel, TwoGaussians, generator


def entropy(items):
    counts = Counter(items)
    n = len(items)
    return -sum(c / n * math.log(c / n) for c in counts.values())


def rows(cells):
    return [tuple(row) for row in cells.tolist()]


@pytest.mark.parametrize("settings", [{"width": 0.5}, {"bins": 4}])
@pytest.mark.parametrize("k", [1, 3])
def test_the_estimates_equal_their_definition(settings, k):
    z = GaussianChannel(k).sample(200)
    y = (z[:, 0] > 0.3).long() + torch.arange(200) % 2
    cells, labels = rows(bin_codes(z, **settings)), y.tolist()
    both = list(zip(cells, labels, strict=True))
    rate, relevance = binned_rate(z, **settings), binned_relevance(z, y, **settings)
    assert rate.nats == pytest.approx(entropy(cells), abs=1e-12)
    expected = entropy(cells) + entropy(labels) - entropy(both)
    assert relevance.nats == pytest.approx(expected, abs=1e-12)
    assert relevance.ceiling == pytest.approx(entropy(labels))
    assert rate.diagnostics["occupied"] == len(set(cells))


def test_bins_of_fixed_width_begin_at_its_multiples():
    z = torch.tensor([[-0.1], [0.0], [0.49], [0.5], [7.2]])
    assert bin_codes(z, width=0.5)[:, 0].tolist() == [-1, 0, 0, 1, 14]


def test_bins_of_equal_mass_hold_equally_many_of_each_coordinate():
    z = GaussianChannel(3).sample(120).exp()
    for column in bin_codes(z, bins=8).T:
        assert torch.bincount(column).tolist() == [15] * 8
    assert binned_rate(z[:, :1], bins=8).nats == pytest.approx(math.log(8))


def test_equal_values_share_a_bin_and_a_constant_column_has_one():
    z = torch.tensor([0.0] * 90 + [1.0] * 10)[:, None]
    assert binned_rate(z, bins=30).nats == pytest.approx(entropy([0] * 90 + [1] * 10))
    assert binned_rate(torch.zeros(9, 2)).nats == 0
    assert binned_relevance(torch.zeros(9, 2), torch.arange(9)).nats == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("count", [3, 10, 49, 51, 90, 97])
@pytest.mark.parametrize("bins", [2, 30])
def test_a_code_of_two_values_has_their_entropy_whichever_is_frequent(count, bins):
    z = (torch.arange(100)[:, None] < count).double()
    expected = pytest.approx(entropy([0] * count + [1] * (100 - count)))
    assert binned_rate(z, bins).nats == expected
    assert binned_rate(-z, bins).nats == expected


def test_the_zeros_of_a_rectified_code_are_no_small_values():
    z = torch.cat([torch.zeros(60), torch.linspace(0.1, 1, 40)])[:, None]
    for code in (z, -z):
        zeros, others = bin_codes(code, 2)[:, 0].split([60, 40])
        assert len(zeros.unique()) == 1
        assert not torch.isin(others, zeros).any()


@pytest.mark.parametrize("cells", [4, 64])
def test_the_correction_removes_most_of_the_bias(cells):
    plain, corrected = [], []
    for seed in range(100):
        z = cells * torch.rand(200, 1, generator=generator(seed))
        plain.append(binned_rate(z, width=1.0).nats - math.log(cells))
        corrected.append(binned_rate(z, width=1.0, miller_madow=True).nats - math.log(cells))
    expected = -(cells - 1) / 400
    assert sum(plain) / 100 == pytest.approx(expected, rel=0.35)
    assert abs(sum(corrected)) < 0.35 * abs(sum(plain))


def test_the_correction_of_independent_labels_points_the_other_way():
    y = torch.arange(300) % 3
    z = torch.rand(300, 1, generator=generator(0))
    plain = binned_relevance(z, y, bins=10)
    corrected = binned_relevance(z, y, bins=10, miller_madow=True)
    assert corrected.nats == pytest.approx(plain.nats - (10 - 1) * (3 - 1) / 600, abs=1e-12)
    assert corrected.diagnostics["correction"] == pytest.approx(-0.03)


def test_halving_the_bins_adds_one_bit_a_coordinate_which_is_no_property_of_the_code():
    z = GaussianChannel(2).sample(200_000)
    wide, fine = (binned_rate(z, width=width).bits for width in (0.4, 0.2))
    assert fine - wide == pytest.approx(2, abs=0.05)


def test_fine_bins_approach_the_information_of_the_continuous_code():
    target = TwoGaussians(1.0)
    _, z, y = target.sample(50_000)
    estimate = binned_relevance(z, y, miller_madow=True)
    assert estimate.nats == pytest.approx(target.information, rel=0.02)
    coarse = binned_relevance(z, y, bins=3)
    assert coarse.nats < 0.95 * target.information


def test_the_standard_error_is_the_spread_over_fresh_samples():
    target = TwoGaussians(1.0)
    estimates = [binned_relevance(*target.sample(500, seed)[1:], width=0.5) for seed in range(100)]
    spread = torch.tensor([estimate.nats for estimate in estimates]).std().item()
    assert estimates[0].std_error == pytest.approx(spread, rel=0.3)


def test_samples_alone_in_their_bins_are_flagged():
    z = GaussianChannel(10).sample(100)
    rate, relevance = binned_rate(z), binned_relevance(z, torch.arange(100) % 4)
    assert rate.nats == pytest.approx(math.log(100))
    assert relevance.nats == pytest.approx(math.log(4))
    assert rate.diagnostics["saturated"]
    assert relevance.diagnostics["saturated"]
    assert rate.diagnostics["alone"] == 1
    assert not binned_rate(z[:, :1], bins=5).diagnostics["saturated"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 1}, "bins must be at least 2, got 1"),
        ({"width": 0.0}, "width must be finite and larger than 0"),
        ({"width": math.nan}, "width must be finite and larger than 0"),
        ({"width": 1e-30}, "below the precision"),
    ],
)
def test_impossible_bins_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        bin_codes(torch.ones(3, 1), **settings)


GRIDS = [(10, 0.1), (20, 0.05), (100, 0.01), (8, 0.125), (7, 1 / 3), (9, 0.7), (12, 1e-5)]


@pytest.mark.parametrize(("count", "width"), GRIDS)
@pytest.mark.parametrize("first", [0, -5, 3000])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_codes_on_the_edges_have_a_bin_each(count, width, first, dtype):
    number = torch.arange(first, first + count)
    decimal = torch.tensor([float(f"{i * width:.17g}") for i in number.tolist()], dtype=dtype)
    for code in (decimal, number.to(dtype) * width, number * torch.tensor(width, dtype=dtype)):
        assert bin_codes(code[:, None], width=width)[:, 0].tolist() == number.tolist()
        assert binned_rate(code[:, None], width=width).nats == pytest.approx(math.log(count))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_codes_on_the_edges_have_a_bin_each_in_half_precision(dtype):
    codes = torch.tensor([i / 10 for i in range(-10, 10)]).to(dtype)[:, None]
    assert bin_codes(codes, width=0.1)[:, 0].tolist() == list(range(-10, 10))


def test_what_is_zero_but_for_rounding_is_in_the_bin_of_zero():
    code = np.arange(-1, 1, 0.1)
    assert code[10] < 0
    assert bin_codes(code, width=0.1)[:, 0].tolist() == list(range(-10, 10))
    summed = torch.full((30,), 0.1, dtype=torch.float64).cumsum(0)
    assert bin_codes(summed, width=0.1)[:, 0].tolist() == list(range(1, 31))


def test_a_code_that_is_the_label_on_a_grid_says_all_of_it():
    y = torch.randint(0, 10, (500,), generator=generator(0))
    found = binned_relevance(y / 10, y, width=0.1)
    assert found.nats == pytest.approx(found.ceiling)
    assert found.nats == pytest.approx(entropy(y.tolist()))


def test_numbers_between_the_edges_stay_where_they_are():
    z = 100 * torch.randn(5000, 3, dtype=torch.float64, generator=generator(0))
    assert torch.equal(bin_codes(z, width=0.3), (z / 0.3).floor().long())


def test_bins_of_equal_mass_know_no_units():
    z = GaussianChannel(3).sample(200)
    assert torch.equal(bin_codes(z, 7), bin_codes(1e3 * z, 7))
    assert torch.equal(bin_codes(z, 7), bin_codes(z.exp(), 7))
