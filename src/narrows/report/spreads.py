"""Mean and spread over seeds, as text and as the ends of crosses."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

__all__ = ["centre", "spread_text"]


def spread_text(values: Sequence[float]) -> str:
    """Mean and standard deviation.

    >>> spread_text([1.0, 3.0])
    '2.000 ± 1.414'
    """
    std = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{std}"


def centre(points: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Mean `rate` and `relevance` of points, with one standard deviation to either side."""
    row: dict[str, float] = {}
    names = (("rate", "rate_low", "rate_high"), ("relevance", "low", "high"))
    for (axis, low, high), values in zip(names, zip(*points, strict=True), strict=True):
        mean, std = fmean(values), stdev(values) if len(values) > 1 else 0.0
        row |= {axis: mean, low: mean - std, high: mean + std}
    return row
