"""Similarities in float32 against those in float64, and where float32 is enough."""

import math

import pytest
import torch

from narrows.information._pairs import Gaussians, similarities, standardise
from narrows.information._single import fits_single, single_similarities
from scenarios import generator

N = 40


def mixture(k, shared=False):
    draw = generator(0)
    mean = torch.randn(N, k, generator=draw, dtype=torch.float64)
    scale = 0.3 + torch.rand(N, k, generator=draw, dtype=torch.float64)
    return standardise(mean, torch.ones_like(scale) if shared else scale)


def in_single(gaussians):
    return gaussians._replace(mean=gaussians.mean.float(), scale=gaussians.scale.float())


def gaussians(mean=0.0, scale=1.0, narrow=False):
    """Two codes of one coordinate, the second as given."""
    means, scales = torch.tensor([[0.0], [mean]]), torch.tensor([[1.0], [scale]])
    return Gaussians(means.double(), scales.double(), False, narrow)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("k", [1, 4, 5, 11])
def test_similarities_are_those_in_double_precision(k, shared):
    double = mixture(k, shared)
    assert double.shared == shared
    single, rows = in_single(double), slice(10, 25)
    expected = similarities(double.take(rows), double)
    values = single_similarities(single.take(rows), single)
    for value, exact in zip(values, expected, strict=True):
        assert value.dtype == torch.float32
        assert torch.allclose(value.double(), exact, rtol=1e-4, atol=1e-9)


def test_two_gaussians_have_the_closed_form():
    """N(0, 1) and N(2, 4): B = 4 / 20 + 1/2 log(5 / 4)."""
    pair = in_single(gaussians(2.0, 2.0))
    alike, forth, back = single_similarities(pair.take(slice(0, 1)), pair)
    assert (-alike.log()).tolist() == [pytest.approx([0, 0.2 + math.log(1.25) / 2], abs=1e-6)]
    assert (-forth.log()).tolist() == [pytest.approx([0, 1 / 8 + math.log(2)], abs=1e-6)]
    assert (-back.log()).tolist() == [pytest.approx([0, 7 / 2 - math.log(2)], abs=1e-6)]


@pytest.mark.parametrize("shared", [False, True])
def test_codes_that_share_nothing_have_a_similarity_that_changes_no_sum(shared):
    pair = in_single(gaussians(9e3, 1.0 if shared else 1.5)._replace(shared=shared))
    for similarity in single_similarities(pair, pair):
        assert similarity.diagonal().tolist() == pytest.approx([1, 1])
        assert 0 < similarity[0, 1].item() < 1e-6
        assert 0 < similarity[1, 0].item() < 1e-6


@pytest.mark.parametrize(
    ("codes", "fits"),
    [
        (gaussians(), True),
        (gaussians(narrow=True), False),
        (gaussians(mean=9e3), True),
        (gaussians(mean=-1.1e4), False),
        # The distance counts in units of the narrowest code.
        (gaussians(mean=9e3, scale=0.5), False),
        (gaussians(mean=1.0, scale=2e-4), True),
        (gaussians(scale=0.5e-4), False),
        (gaussians(scale=9e3), True),
        (gaussians(scale=1.1e4), False),
    ],
)
def test_float32_serves_codes_that_are_neither_far_apart_nor_of_unlike_widths(codes, fits):
    assert fits_single(codes) == fits
