"""Units in which the distances of several columns may be compared.

    columns  (x - mean x) / std x                   of labels: std of x less the mean of its class
    vectors  (x - mean x) / root mean square of the std of all columns
    ranks    ndtri( (rank x - 1/2) / n ),           equal values at their mean rank

Mutual information knows no units: any increasing map of a column leaves it as it is. Distances in
several columns at once do know them, and so does every estimator that is built upon distances.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from narrows.errors import InputError

__all__ = ["Scaling", "column_units", "scale_columns"]

Scaling = Literal["columns", "vectors", "ranks", "none"]

_LEAST_EXPONENT = -1000
# What a column varies by within the classes, of what it varies by, where it is not but rounding.
_LEAST_WITHIN = 1e-6
# Where distances are equal but for rounding, they differ by a few of these.
_ULPS = 16


def scale_columns(points: Tensor, how: Scaling, y: Tensor | None = None) -> tuple[Tensor, float]:
    """Return `points: [n, D]` in units of their columns, and the rounding of their distances.

    Args:
        points: samples.
        how: what the units are.
        y: `[n]`, labels, within whose classes the spread of a column is its unit.

    Raises:
        InputError: for a scaling that there is none of.
    """
    if how not in get_args(Scaling):
        named = ", ".join(map(repr, get_args(Scaling)))
        raise InputError(f"scaling must be one of {named}, got {how!r}")
    largest = points.abs().amax(0)
    if how == "ranks":
        points = torch.stack([_normal_scores(column) for column in points.T], 1)
        largest = points.abs()
    elif how != "none":
        spread = _spread(points)
        if y is not None:
            spread = torch.maximum(_spread(_less_class_means(points, y)), _LEAST_WITHIN * spread)
        if how == "vectors":
            widest = _or_one(spread.max())
            spread = widest * (spread / widest).square().mean().sqrt()
        units = _or_one(spread)
        points, largest = (points - points.mean(0)) / units, largest / units
    return points, _ULPS * torch.finfo(points.dtype).eps * largest.max().item()


def column_units(points: Tensor) -> Tensor:
    """Standard deviations of the columns of `points: [n, D]`, 1 where one is constant: `[D]`."""
    return _or_one(_spread(points))


def _spread(points: Tensor) -> Tensor:
    width = points.amax(0) - points.amin(0)
    # Squares of very small numbers are 0. A power of two in between rounds nothing.
    exponent = torch.frexp(width).exponent.clamp_min(_LEAST_EXPONENT).to(points)
    spread = torch.ldexp(torch.ldexp(points, -exponent).std(0), exponent)
    return torch.where(width > 0, spread, 0.0)


def _or_one(spread: Tensor) -> Tensor:
    return torch.where(spread > 0, spread, 1.0)


def _less_class_means(points: Tensor, y: Tensor) -> Tensor:
    number = y.unique(return_inverse=True)[1]
    counts = torch.bincount(number)
    means = points.new_zeros(len(counts), points.shape[1]).index_add_(0, number, points)
    return points - (means / counts[:, None])[number]


def _normal_scores(column: Tensor) -> Tensor:
    _, place, counts = column.unique(return_inverse=True, return_counts=True)
    middle = counts.cumsum(0) - 0.5 * counts
    return torch.special.ndtri(middle / len(column))[place].to(column)
