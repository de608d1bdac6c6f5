import math

import pytest
import torch

from narrows.information._neighbours import nearest, nearest_in_blocks
from scenarios import generator


def all_distances(points):
    """In the maximum norm, infinite from each point to itself."""
    return (points[:, None] - points).abs().amax(2).fill_diagonal_(math.inf)


@pytest.mark.parametrize("search", [nearest, nearest_in_blocks])
@pytest.mark.parametrize("d", [1, 2, 3, 14])
@pytest.mark.parametrize("rounded", [False, True])
def test_neighbours_are_those_of_all_distances(search, d, rounded):
    points = torch.randn(1100, d, dtype=torch.float64, generator=generator(d)).exp()
    points = points.round(decimals=1) if rounded else points
    every = all_distances(points)
    distances, rows = search(points, 5)
    assert torch.equal(distances, every.sort(1).values[:, :5])
    assert torch.equal(every.gather(1, rows), distances)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-9, 1e140])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e8])
def test_single_precision_decides_nothing_that_it_cannot(scale, offset):
    points = torch.randn(200, 2, dtype=torch.float64, generator=generator(0)) + offset
    points[:100] = points[0] + 1e-9 * (points[:100] - offset)
    points *= scale
    every = all_distances(points)
    distances, rows = nearest_in_blocks(points, 3)
    assert torch.equal(distances, every.sort(1).values[:, :3])
    assert torch.equal(every.gather(1, rows), distances)


def test_points_at_one_place_are_neighbours_at_distance_0_and_never_themselves():
    points = torch.zeros(20, 2, dtype=torch.float64)
    for search in (nearest, nearest_in_blocks):
        distances, rows = search(points, 4)
        assert not distances.any()
        assert (rows != torch.arange(20)[:, None]).all()
