import math

import pytest
import torch

from narrows.information._counts import count_within
from scenarios import generator


def all_distances(points):
    """In the maximum norm, infinite from each point to itself."""
    return (points[:, None] - points).abs().amax(2).fill_diagonal_(math.inf)


@pytest.mark.parametrize("d", [1, 2, 3, 14])
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_counts_are_those_of_all_distances(d, rounded, strict):
    """Of two slabs of points, with radii that are distances themselves, or 0."""
    points = torch.randn(1100, d, dtype=torch.float64, generator=generator(d)).exp()
    points = points.round(decimals=1) if rounded else points
    every = all_distances(points)
    chosen = torch.rand(1100, dtype=torch.float64, generator=generator(1)).round()
    radius = every.sort(1).values[:, 4] * chosen
    inside = every < radius[:, None] if strict else every <= radius[:, None]
    assert torch.equal(count_within(points, radius, strict=strict), inside.sum(1))


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-9, 1e140])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e8])
def test_a_distance_that_is_the_radius_is_decided_exactly(scale, offset):
    points = torch.randn(200, 2, dtype=torch.float64, generator=generator(0)) + offset
    points[:100] = points[0] + 1e-9 * (points[:100] - offset)
    points *= scale
    every = all_distances(points)
    radius = every.sort(1).values[:, 2]
    for strict, inside in ((True, torch.lt), (False, torch.le)):
        counts = count_within(points, radius, strict=strict)
        assert torch.equal(counts, inside(every, radius[:, None]).sum(1))
