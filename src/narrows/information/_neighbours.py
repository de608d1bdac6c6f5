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

_LEAF = 64
_FEW = 16


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
    boxes, columns = _sort(points, max(_LEAF, 4 * k)), points.T.contiguous()
    distances = points.new_empty(len(points), k)
    rows = torch.empty(len(points), k, dtype=torch.int64, device=points.device)
    for box, own in enumerate(boxes.rows):
        # No k-th neighbour is farther than the one within the point's own box.
        reach = _smallest(_distances(columns, own, own), k + 1)[0].max()
        others = boxes.near(box, reach)
        apart = _distances(columns, own, others)
        apart[own[:, None] == others] = torch.inf
        distances[own], found = _smallest(apart, k)
        rows[own] = others[found]
    return distances, rows


def count_within(points: Tensor, radius: Tensor, *, strict: bool) -> Tensor:
    """How many others lie nearer than each point's own `radius: [n]`, or as near if not strict."""
    # A point is not among the others, although it is at distance 0 from itself.
    own_counts = (radius > 0 if strict else radius >= 0).long()
    if points.shape[1] == 1:
        return _count_on_a_line(points[:, 0], radius, strict) - own_counts
    boxes, columns = _sort(points, _LEAF), points.T.contiguous()
    counts = torch.empty(len(points), dtype=torch.int64, device=points.device)
    for box, own in enumerate(boxes.rows):
        mine = radius[own, None]
        apart = _distances(columns, own, boxes.near(box, mine.max()))
        counts[own] = (apart < mine if strict else apart <= mine).sum(1)
    return counts - own_counts


def _count_on_a_line(values: Tensor, radius: Tensor, strict: bool) -> Tensor:
    """The same for scalars, by bisection among the sorted ones; each point counts itself."""
    line = values.sort().values

    def first_outside(sign: int, inside: bool) -> Tensor:
        """Bisect for the first of the line whose offset is not, or no longer, within."""
        low = torch.zeros_like(radius, dtype=torch.int64)
        high = torch.full_like(low, len(line))
        while (low < high).any():
            middle = (low + high) // 2
            # The difference itself is compared: a sum would be rounded to another side.
            offset = sign * (line[middle.clamp_max(len(line) - 1)] - values)
            within = offset < radius if strict else offset <= radius
            left = (within == inside) & (low < high)
            low, high = torch.where(left, middle + 1, low), torch.where(left, high, middle)
        return low

    return (first_outside(1, True) - first_outside(-1, False)).clamp_min(0)


def _distances(columns: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Between two sets of points, one coordinate `columns: [D, n]` at a time: `[a, b]`."""
    farthest: Tensor | None = None
    part = columns.new_empty(len(a), len(b))
    for column in columns:
        torch.sub(column[a, None], column[b], out=part).abs_()
        farthest = part.clone() if farthest is None else torch.maximum(farthest, part, out=farthest)
    return part if farthest is None else farthest


def _smallest(apart: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest of each row, rising, and where; takes them off `apart`."""
    if count > _FEW:
        found = apart.topk(count, largest=False)
        return found.values, found.indices
    # A few minima are much faster than a partial sort.
    values, places = [], []
    for _ in range(count):
        value, at = apart.min(1)
        apart.scatter_(1, at[:, None], torch.inf)
        values.append(value)
        places.append(at)
    return torch.stack(values, 1), torch.stack(places, 1)


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
