"""Units in which the distances of several columns may be compared.

    columns  (x - mean x) / std x                   with labels: the std within the classes
    vectors  (x - mean x) / root mean square of the std of all columns
    ranks    ndtri( (rank x - 1/2) / n ),           equal values at their mean rank

Mutual information does not depend on units: any increasing map of a column leaves it unchanged.
Distances over several columns do depend on them, and so do all estimators built on distances.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from narrows.errors import InputError

__all__ = ["Scaling", "column_units", "scale_columns"]

Scaling = Literal["columns", "vectors", "ranks", "none"]

_LEAST_EXPONENT = -1000
# Of the spread of a column, the share within the classes that may be no more than rounding.
_LEAST_WITHIN = 1e-6
# Distances that would be equal without rounding differ by a few of these.
_ULPS = 16


def scale_columns(
    points: Tensor, how: Scaling, y: Tensor | None = None, eps: float = 0.0
) -> tuple[Tensor, float]:
    """Return `points: [n, D]` in units of their columns, and the rounding of their distances.

    A column whose spread is no more than rounding becomes constant: in units of that spread the
    rounding of one column would count as much as the values of another.

    Args:
        points: samples.
        how: one of the scalings above, or "none".
        y: `[n]` labels: the unit of a column is then its spread within the classes.
        eps: of the precision that the samples came in; they are in double precision now.

    Raises:
        InputError: for an unknown scaling.
    """
    if how not in get_args(Scaling):
        named = ", ".join(map(repr, get_args(Scaling)))
        raise InputError(f"scaling must be one of {named}, got {how!r}")
    largest = points.abs().amax(0)
    least = max(eps, _ULPS * torch.finfo(points.dtype).eps)
    varies = _spread(points) > least * largest
    points, largest = torch.where(varies, points, points[0]), torch.where(varies, largest, 0.0)
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
