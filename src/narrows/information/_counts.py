"""How many points lie within a radius of each, in the maximum norm: exactly, 64 at a time.

    |{j : max_d |a_i,d - a_j,d| < r_i}| = popcount of AND_d { j : |a_i,d - a_j,d| < r_i }

In one coordinate the points within reach are a run of the sorted ones, found by bisection. A set of
points is a row of bits. The sets of the first t sorted points, t = 0, 1, ..., are a table for each
coordinate, so that a run is one row of it less another: a coordinate of 64 pairs is four operations
on integers. Points are taken in slabs along one coordinate, and a slab is compared with those only
that reach it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["count_within"]

_WORD = 64
_SLAB = 16 * _WORD
# A byte holds the sum of so many words' counts of eight bits.
_SUMMED = 31
# Differences of rounded numbers can be off by as many units in the last place.
_ULPS = 4


class _Runs(NamedTuple):
    """Ranks of each coordinate's values, and which ranks are within reach, `[D, n]` each.

    They are those from `first` on and before `last`.
    """

    rank: Tensor
    first: Tensor
    last: Tensor


def count_within(points: Tensor, radius: Tensor, *, strict: bool) -> Tensor:
    """How many others of `points: [n, D]` lie nearer than each one's own `radius: [n]`.

    Or as near, if not strict: `[n]` int64.
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
    # Neighbours on the line bisect alike, which is much faster than in another order.
    reach = radius[order]
    eps = _ULPS * torch.finfo(columns.dtype).eps * (line.abs() + reach)

    def first_outside(sign: int) -> Tensor:
        edge = line + sign * reach
        low = torch.searchsorted(line, edge - eps)
        high = torch.searchsorted(line, edge + eps, right=True)
        # Between the two the difference itself decides: a sum is rounded to another side.
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
    """How many bits are set in each row of `words: [n, W]`: `[n]`. Takes the words."""
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
