"""Similarities of Gaussians, against the formulas in logarithms and in 60 digits."""

import math
from decimal import Decimal, localcontext

import pytest
import torch

from narrows.errors import InputError
from narrows.information import kde_bounds, kde_relevance, posterior_information
from narrows.information._pairs import check_resolved, error_samples, similarities, standardise
from scenarios import generator

N, K = 12, 3


def codes(narrow=1.0, shared=False, seed=0):
    """Means, and scales of which every second row is `narrow` times as large."""
    mean = torch.randn(N, K, generator=generator(seed), dtype=torch.float64)
    scale = torch.rand(N, K, generator=generator(seed + 1), dtype=torch.float64) + 0.5
    scale[::2] *= narrow
    return mean, scale[:1].expand(N, -1).clone() if shared else scale


def by_hand(mean, scale, i, j):
    """Bhattacharyya distance and KL(i || j), in decimals of 60 digits."""
    with localcontext() as context:
        context.prec = 60
        apart = kl = Decimal(0)
        rows = (mean[i], mean[j], scale[i], scale[j])
        for numbers in zip(*(row.tolist() for row in rows), strict=True):
            mean_i, mean_j, s_i, s_j = (Decimal(number) for number in numbers)
            v, square = s_i**2 + s_j**2, (mean_i - mean_j) ** 2
            apart += square / (4 * v) + (v / (2 * s_i * s_j)).ln() / 2
            kl += (square + s_i**2) / (2 * s_j**2) - Decimal(1) / 2 + (s_j / s_i).ln()
        return float((-apart).exp()), float((-kl).exp())


@pytest.mark.parametrize(
    ("narrow", "shared"), [(1.0, True), *((s, False) for s in (1.0, 1e-4, 1e-8, 1e-13, 1e-60))]
)
def test_similarities_have_the_closed_form_however_narrow_some_are(narrow, shared):
    mean, scale = codes(narrow, shared)
    mean[0] = mean[2]  # two narrow codes at one place
    mean[1] = mean[2]  # and a wide one
    mixture = standardise(mean, scale)
    assert mixture.shared == shared
    assert mixture.narrow == (not shared and narrow < 1e-6)
    alike, forth, back = similarities(mixture, mixture)
    for i in range(N):
        for j in range(N):
            wanted_alike, wanted_forth = by_hand(mean, scale, i, j)
            assert alike[i, j].item() == pytest.approx(wanted_alike, rel=1e-7, abs=1e-12)
            assert forth[i, j].item() == pytest.approx(wanted_forth, rel=1e-7, abs=1e-12)
            assert back[j, i].item() == pytest.approx(wanted_forth, rel=1e-7, abs=1e-12)


def test_both_ways_agree_where_both_are_precise():
    mixture = standardise(*codes(1e-3))
    fast, slow = (similarities(part, part) for part in (mixture, mixture._replace(narrow=True)))
    for of_fast, of_slow in zip(fast, slow, strict=True):
        assert torch.allclose(of_fast, of_slow, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("narrow", [1e-7, 1e-9, 1e-12, 1e-50, 1e-200, 1e-320])
def test_bounds_and_information_do_not_break_where_some_codes_are_narrow(narrow):
    """Means are far apart against every scale that is narrower still, so nothing changes."""
    y = torch.arange(N) % 2
    expected = [estimate.nats for estimate in kde_bounds(*codes(1e-6))]
    assert [e.nats for e in kde_bounds(*codes(narrow))] == pytest.approx(expected, abs=1e-4)
    relevances = kde_relevance(*codes(1e-6), y), kde_relevance(*codes(narrow), y)
    values = [[estimate.nats for estimate in pair] for pair in relevances]
    assert values[0] == pytest.approx(values[1], abs=1e-4)

    def drawn(narrow):
        return posterior_information(*codes(narrow), y, generator=generator(0))

    for estimate, expected in zip(drawn(narrow), drawn(1e-5), strict=True):
        assert estimate.nats == pytest.approx(expected.nats, abs=1e-4)
        assert 0 < estimate.nats <= estimate.ceiling + 1e-9


def test_a_unit_that_all_share_changes_nothing():
    mean, scale = codes(1e-9)
    expected = kde_bounds(mean, scale)
    for factor in (1e-30, 1e30):
        for estimate, other in zip(
            expected, kde_bounds(factor * mean, factor * scale), strict=True
        ):
            assert estimate.nats == pytest.approx(other.nats, rel=1e-12)


def test_codes_that_are_far_apart_against_a_shared_scale_are_refused():
    check_resolved(torch.full((2, 1), 1e6))
    with pytest.raises(InputError, match="lost in rounding"):
        check_resolved(torch.full((2, 1), 1e7))
    with pytest.raises(InputError, match="lost in rounding"):
        standardise(torch.tensor([[0.0], [1e9]]).double(), torch.ones(2, 1).double())


def test_some_250_samples_spread_evenly_stand_for_all():
    few, many = (error_samples(torch.zeros(n, 1)) for n in (100, 10_000))
    assert few.all()
    assert 240 <= many.sum() <= 260
    # Neither every second nor every tenth sample is left out.
    for period in (2, 10):
        counts = torch.bincount(many.nonzero()[:, 0] % period, minlength=period)
        assert counts.min() > 0.7 * counts.max()
    assert math.isclose(many.double().mean().item(), 0.025, rel_tol=0.05)
