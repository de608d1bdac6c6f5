"""Counts decide, by tests whose probabilities can be added up by hand."""

from math import comb

import pytest
import torch
from scipy.stats import binomtest

from narrows.audit._statistics import interval, more_often, more_than, only_first


def tail(successes, count, share):
    """P(Binomial >= successes), summed up."""
    return sum(
        comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(successes, count + 1)
    )


@pytest.mark.parametrize(("count", "bound"), [(100, 0.02), (40, 0.05), (20, 0.5)])
def test_more_than_a_bound_by_more_than_sampling_error(count, bound):
    for successes in range(count + 1):
        expected = successes > bound * count and tail(successes, count, bound) < 0.01
        assert more_than(successes, count, bound) is expected


def test_nothing_is_more_than_nothing():
    assert not more_than(0, 0, 0.02)
    assert not more_than(0, 10, 0.0)
    assert more_than(1, 10, 0.0)
    assert not more_than(10, 10, 1.0)


def test_mcnemar_looks_only_at_images_on_which_two_attacks_differ():
    base = torch.arange(100)
    for only, other, differ in [(6, 0, False), (7, 0, True), (20, 10, False), (30, 5, True)]:
        first, second = base < 50, (base < 50 + other) & (base >= only)
        assert int(only_first(first, second).sum()) == only
        assert int(only_first(second, first).sum()) == other
        assert more_often(first, second) is differ
        assert (tail(only, only + other, 0.5) < 0.01) is differ
        assert not more_often(second, first)
    assert not more_often(base < 50, base < 50)


@pytest.mark.parametrize(("successes", "count"), [(0, 20), (7, 20), (20, 20)])
def test_the_interval_is_that_of_scipy(successes, count):
    expected = binomtest(successes, count).proportion_ci(method="wilson")
    assert interval(successes, count) == pytest.approx((expected.low, expected.high), abs=1e-6)
