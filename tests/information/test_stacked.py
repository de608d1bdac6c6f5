import math

import pytest
import torch

from narrows.errors import InputError
from narrows.information import (
    binned_rate,
    kde_bounds,
    stacked_binned_rates,
    stacked_kde_bounds,
    stacked_rates,
    variational_rate,
)
from scenarios import generator


def codes(members=4, n=50, k=3):
    wide = torch.tensor([0.1, 1.0, 3.0, 30.0], dtype=torch.float64)[:members]
    return wide[:, None, None] * torch.randn(
        members, n, k, dtype=torch.float64, generator=generator(0)
    )


def same(one, other):
    assert one.nats == pytest.approx(other.nats, rel=1e-12, abs=1e-12)
    assert one.std_error == pytest.approx(other.std_error, rel=1e-10, abs=1e-12)
    assert (one.n, one.ceiling) == (other.n, other.ceiling)
    assert one.diagnostics == pytest.approx(other.diagnostics)


def test_variational_rates_are_those_of_the_loop():
    mean, scale = codes(), codes().abs() + 0.1
    for found, loop in zip(stacked_rates(mean, scale), zip(mean, scale, strict=True), strict=True):
        same(found, variational_rate(*loop))
    for found, one in zip(stacked_rates(mean, 0.5), mean, strict=True):
        same(found, variational_rate(one, 0.5))


@pytest.mark.parametrize("n", [50, 400, 1100])
def test_pairwise_bounds_are_those_of_the_loop(n):
    mean, noises = codes(n=n), [0.5, 1.0, 0.2, 2.0]
    for pair, one, noise in zip(stacked_kde_bounds(mean, noises), mean, noises, strict=True):
        for found, loop in zip(pair, kde_bounds(one, noise), strict=True):
            same(found, loop)


@pytest.mark.parametrize("how", [{"bins": 4}, {"width": 0.5}])
def test_binned_rates_are_those_of_the_loop(how):
    for found, one in zip(stacked_binned_rates(codes(), **how), codes(), strict=True):
        same(found, binned_rate(one, **how))


def test_what_is_no_stack_is_refused():
    for call in (stacked_rates, stacked_kde_bounds):
        with pytest.raises(InputError, match=r"\[members, n, K\]"):
            call(codes()[0], 1.0)
        with pytest.raises(InputError, match="at least 2"):
            call(codes(n=1), 1.0)
        with pytest.raises(InputError, match="scale must be finite and larger than 0"):
            call(codes(), 0.0)
        with pytest.raises(InputError, match="NaN"):
            call(codes() * math.nan, 1.0)
    with pytest.raises(InputError, match=r"each of 4 members, got \[2\]"):
        stacked_kde_bounds(codes(), [1.0, 2.0])
