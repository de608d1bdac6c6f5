"""How many points lie within a radius of each point, in the maximum norm, exactly.

    |{j : max_d |a_i,d - a_j,d| < r_i}| = popcount of AND_d { j : |a_i,d - a_j,d| < r_i }

In one coordinate the points within the radius are a contiguous run of the sorted points, found by
bisection. A set of points is a row of bits. For each coordinate there is a table of the sets of the
first t sorted points, t = 0, 1, ..., so that a run is the difference of two rows of the table, and
64 pairs take four integer operations per coordinate. Points are processed in slabs along one
coordinate, and a slab is compared only with the points whose radius reaches it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["count_within"]

_WORD = 64
_SLAB = 16 * _WORD
# A byte holds the sum of the bit counts of at most this many bytes.
_SUMMED = 31
# Differences of rounded numbers can be off by this many units in the last place.
_ULPS = 4


class _Runs(NamedTuple):
    """Ranks of each coordinate's values, and the ranks within the radius, `[D, n]` each.

    The latter are those from `first` up to but not including `last`.
    """

    rank: Tensor
    first: Tensor
    last: Tensor


def count_within(points: Tensor, radius: Tensor, *, strict: bool) -> Tensor:
    """How many other points lie within a radius of each point: `[n]` int64.

    Args:
        points: `[n, D]`.
        radius: `[n]`, one for each point.
        strict: count points that are nearer than the radius; otherwise also those as near.
    """
    # A point is not among the others, although it is at distance 0 from itself.
    itself = (radius > 0 if strict else radius >= 0).long()
    widest = int((points.amax(0) - points.amin(0)).argmax())
    order = points[:, widest].argsort()
    runs = _runs(points[order].T.contiguous(), radius[order], strict)
    first, last = runs.first[widest], runs.last[widest]
    counts = last - first
    if points.shape[1] > 1:
        counts = torch.zeros_like(counts)
        for start in range(0, len(points), _SLAB):
            stop = min(start + _SLAB, len(points))
            near = ((first < stop) & (last > start)).nonzero()[:, 0]
            counts[near] += _ones(_within(runs, near, start, stop))
    return torch.empty_like(counts).index_copy_(0, order, counts) - itself


def _runs(columns: Tensor, radius: Tensor, strict: bool) -> _Runs:
    line, order = columns.sort(1)
    place = torch.arange(len(radius), device=radius.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, place)
    # Sorted queries are much faster, as neighbours on the line follow the same bisection.
    reach = radius[order]
    eps = _ULPS * torch.finfo(columns.dtype).eps * (line.abs() + reach)

    def first_outside(sign: int) -> Tensor:
        edge = line + sign * reach
        low = torch.searchsorted(line, edge - eps)
        high = torch.searchsorted(line, edge + eps, right=True)
        # Between the two the difference itself decides, because a sum may be rounded the other way.
        at = (low < high).nonzero(as_tuple=True)
        while len(at[0]):
            a, b = low[at], high[at]
            middle = (a + b) // 2
            offset = sign * (line[at[0], middle] - line[at])
            within = offset < reach[at] if strict else offset <= reach[at]
            left = within == (sign > 0)
            a, b = torch.where(left, middle + 1, a), torch.where(left, b, middle)
            low[at], high[at] = a, b
            at = at[0][a < b], at[1][a < b]
        return low.gather(1, rank)

    first = first_outside(-1)
    return _Runs(rank, first, torch.maximum(first, first_outside(1)))


def _within(runs: _Runs, near: Tensor, start: int, stop: int) -> Tensor:
    """Which points of a slab each of the rows `near` has within its radius: `[near, words]`."""
    ranks = runs.rank[:, start:stop]
    d, size = ranks.shape
    number = torch.arange(size, device=near.device)
    bit = torch.ones_like(number) << number % _WORD
    # How many of the slab come before each rank.
    before = ranks.new_zeros(d, runs.rank.shape[1] + 1).scatter_(1, ranks + 1, 1).cumsum(1)
    table = ranks.new_zeros(d, size + 1, -(-size // _WORD))
    coordinate = torch.arange(d, device=near.device)[:, None]
    # No two rows have a bit in common, so that a sum of them is their union.
    table[coordinate, before.gather(1, ranks) + 1, number // _WORD] = bit
    table = table.cumsum(1)
    common = torch.full((), -1, dtype=torch.int64, device=near.device)
    for bits, upto, first, last in zip(table, before, runs.first, runs.last, strict=True):
        inside = bits.index_select(0, upto[last[near]])
        inside ^= bits.index_select(0, upto[first[near]])
        common = inside.bitwise_and_(common)
    return common


def _ones(words: Tensor) -> Tensor:
    """How many bits are set in each row of `words: [n, W]`: `[n]`. Overwrites the words."""
    half = (words >> 1).bitwise_and_(0x5555555555555555)
    words -= half
    half = torch.bitwise_right_shift(words, 2, out=half).bitwise_and_(0x3333333333333333)
    words.bitwise_and_(0x3333333333333333).add_(half)
    words += torch.bitwise_right_shift(words, 4, out=half)
    words.bitwise_and_(0x0F0F0F0F0F0F0F0F)
    total = torch.zeros_like(words[:, 0])
    for part in words.split(_SUMMED, 1):
        octets = part.sum(1)
        for shift in range(0, _WORD, 8):
            total += (octets >> shift) & 255
    return total
