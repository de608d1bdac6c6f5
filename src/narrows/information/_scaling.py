"""Units in which the distances of several columns may be compared.

    columns  (x - mean x) / std x
    ranks    ndtri( (rank x - 1/2) / n ),   equal values at their mean rank

Mutual information knows no units: any increasing map of a column leaves it as it is. Distances in
several columns at once do know them, and so does every estimator that is built upon distances.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from narrows.errors import InputError

__all__ = ["Scaling", "column_units", "scale_columns"]

Scaling = Literal["columns", "ranks", "none"]

_LEAST_EXPONENT = -1000
# Where distances are equal but for rounding, they differ by a few of these.
_ULPS = 16


def scale_columns(points: Tensor, how: Scaling) -> tuple[Tensor, float]:
    """Return `points: [n, D]` in units of their columns, and the rounding of their distances.

    Raises:
        InputError: for a scaling that there is none of.
    """
    if how not in ("columns", "ranks", "none"):
        raise InputError(f"scaling must be 'columns', 'ranks' or 'none', got {how!r}")
    largest = points.abs().amax(0)
    if how == "columns":
        units = column_units(points)
        points, largest = (points - points.mean(0)) / units, largest / units
    elif how == "ranks":
        points = torch.stack([_normal_scores(column) for column in points.T], 1)
        largest = points.abs()
    return points, _ULPS * torch.finfo(points.dtype).eps * largest.max().item()


def column_units(points: Tensor) -> Tensor:
    """Standard deviations of the columns of `points: [n, D]`, 1 where one is constant: `[D]`."""
    width = points.amax(0) - points.amin(0)
    # Squares of very small numbers are 0. A power of two in between rounds nothing.
    exponent = torch.frexp(width).exponent.clamp_min(_LEAST_EXPONENT).to(points)
    spread = torch.ldexp(torch.ldexp(points, -exponent).std(0), exponent)
    return torch.where((width > 0) & (spread > 0), spread, 1.0)


def _normal_scores(column: Tensor) -> Tensor:
    _, place, counts = column.unique(return_inverse=True, return_counts=True)
    middle = counts.cumsum(0) - 0.5 * counts
    return torch.special.ndtri(middle / len(column))[place].to(column)
