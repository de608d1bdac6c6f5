"""Nearest neighbours and counts within a radius, in the maximum norm, exactly.

    distance(i, j) = max_d |a_i,d - a_j,d|

Points are sorted into boxes by halving at the median of the widest coordinate, the leaves of a k-d
tree. One box is compared at a time, with those boxes only that can hold a point near enough. In few
dimensions these are few; in many they are all, and the search becomes brute force in blocks, which
no tree beats there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["count_within", "nearest"]

_LEAF = 128


class _Boxes(NamedTuple):
    """Rows of each box, the box that each point is in `[n]`, and the corners `[boxes, D]`."""

    rows: list[Tensor]
    home: Tensor
    low: Tensor
    high: Tensor

    def near(self, box: int, reach: Tensor) -> Tensor:
        """Rows of all points in boxes within `reach` of this one."""
        above = (self.low - self.high[box]).amax(1)
        below = (self.low[box] - self.high).amax(1)
        return (torch.maximum(above, below) <= reach)[self.home].nonzero()[:, 0]


def nearest(points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` nearest others of each of `points: [n, D]`: distances, rising, and rows, `[n, k]`."""
    boxes = _sort(points, max(_LEAF, 4 * k))
    distances = points.new_empty(len(points), k)
    rows = torch.empty(len(points), k, dtype=torch.int64, device=points.device)
    for box, own in enumerate(boxes.rows):
        # No k-th neighbour is farther than the one within the point's own box.
        reach = _distances(points, own, own).topk(k + 1, largest=False).values.max()
        others = boxes.near(box, reach)
        apart = _distances(points, own, others)
        apart[own[:, None] == others] = torch.inf
        distances[own], found = apart.topk(k, largest=False)
        rows[own] = others[found]
    return distances, rows


def count_within(points: Tensor, radius: Tensor, *, strict: bool) -> Tensor:
    """How many others lie nearer than each point's own `radius: [n]`, or as near if not strict."""
    boxes = _sort(points, _LEAF)
    counts = torch.empty(len(points), dtype=torch.int64, device=points.device)
    for box, own in enumerate(boxes.rows):
        mine = radius[own, None]
        apart = _distances(points, own, boxes.near(box, mine.max()))
        inside = apart < mine if strict else apart <= mine
        # A point is not among the others, although it is at distance 0 from itself.
        counts[own] = inside.sum(1) - (mine[:, 0] > 0 if strict else mine[:, 0] >= 0).long()
    return counts


def _distances(points: Tensor, a: Tensor, b: Tensor) -> Tensor:
    if points.shape[1] == 1:
        return (points[a] - points[b, 0]).abs_()
    return torch.cdist(points[a], points[b], p=torch.inf)


def _sort(points: Tensor, leaf: int) -> _Boxes:
    rows = list(_halve(points, torch.arange(len(points), device=points.device), leaf))
    home = torch.empty(len(points), dtype=torch.int64, device=points.device)
    for box, own in enumerate(rows):
        home[own] = box
    low = torch.stack([points[own].amin(0) for own in rows])
    high = torch.stack([points[own].amax(0) for own in rows])
    return _Boxes(rows, home, low, high)


def _halve(points: Tensor, rows: Tensor, leaf: int) -> Iterator[Tensor]:
    if len(rows) <= leaf:
        yield rows
        return
    own = points[rows]
    widest = int((own.amax(0) - own.amin(0)).argmax())
    order = rows[own[:, widest].argsort()]
    for half in order.tensor_split(2):
        yield from _halve(points, half, leaf)
