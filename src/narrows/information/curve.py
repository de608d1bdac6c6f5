"""The IB curve, its concave envelope, and the knee that chooses beta."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from narrows.checks import check_count, check_number
from narrows.errors import InputError

__all__ = [
    "IBPoint",
    "Knee",
    "NoClearKnee",
    "SeedKnees",
    "concave_envelope",
    "knee",
    "knee_over_seeds",
    "one_error_rule",
]

_MIN_HEIGHT = 0.1
_MIN_GAIN = 0.01
_MIN_POINTS = 3
_DEPTHS = 2.0


class IBPoint(NamedTuple):
    """A bottleneck at one beta.

    Attributes:
        beta: weight of compression.
        rate: I(X;Z), in nats.
        relevance: I(Z;Y), in nats.
    """

    beta: float
    rate: float
    relevance: float


@dataclass(frozen=True)
class Knee:
    """The point to choose.

    Attributes:
        index: of the point in the curve that was given.
        point: its beta, rate and relevance.
        height: how far it lies above the chord, in units of the unit square, 0 to 1.
    """

    index: int
    point: IBPoint
    height: float


@dataclass(frozen=True)
class NoClearKnee:
    """There is no knee to choose by. False in a condition, as in `if point := knee(...)`.

    Attributes:
        reason: why, and what to do.
        height: of the highest point, 0 where there is no curve at all.
    """

    reason: str
    height: float = 0.0

    def __bool__(self) -> Literal[False]:
        return False


@dataclass(frozen=True)
class SeedKnees:
    """The knee of the mean curve, and how far it depends on the seeds.

    Attributes:
        mean: knee of the curve averaged over seeds.
        by_seed: knee of each seed's own curve.
        interval: smallest and largest beta of the central 95 % of bootstrap knees; None if the
            resampled curves have no knee.
        clear_share: share of the resampled mean curves that have a clear knee.
    """

    mean: Knee | NoClearKnee
    by_seed: tuple[Knee | NoClearKnee, ...]
    interval: tuple[float, float] | None
    clear_share: float


def concave_envelope(points: Iterable[Sequence[float]]) -> list[int]:
    """The points that lie on the least concave, never falling function over all of them.

    Args:
        points: `(beta, rate, relevance)` each, in any order.

    Returns:
        Indices into `points`, by rising rate and relevance. Of points with the same rate only the
        highest can be among them, and none that only repeats a relevance at a larger rate.

    Raises:
        InputError: for NaN or inf, or a point without three numbers.

    Example:
        >>> concave_envelope([(1, 0.0, 0.0), (0.1, 1.0, 1.0), (0.01, 2.0, 0.5), (0, 3.0, 1.1)])
        [0, 1, 3]
    """
    return _envelope(_check(points))


def knee(points: Iterable[Sequence[float]], min_height: float = _MIN_HEIGHT) -> Knee | NoClearKnee:
    """Find the knee of an IB curve.

        knee = the point of the envelope with the largest height v - u
        u = (rate - least rate) / range of rates,   v = (relevance - first) / (highest - first)

    The envelope is the least concave, never falling function over all points. A true IB curve is
    concave and never falls, since codes can be shared in time and rate left unused, so a point
    below the envelope is noise or a run that failed. The knee is the point farthest above the chord
    of the envelope. Its height says how sharp it is: 0 on a straight line, near 1 at a right angle.
    It depends on the range of betas: sweep from collapse (rate near 0) to no visible gain. Noise
    alone also lifts the envelope above its chord, about as far as it lets points fall below the
    envelope: a knee therefore has to be twice as high as the median point lies below the envelope.

    Source: choosing beta at the knee of the IB curve is the proposal of Zhai & Zhang (2021), arXiv
    2103.00381, who leave open how to find it. Curvature, or differences of neighbours, would
    respond to the noise.

    Args:
        points: `(beta, rate, relevance)` each, in any order.
        min_height: the least height above the chord, in units of the unit square.

    Returns:
        The knee, or why there is none: fewer than 3 distinct points, a relevance that rises by less
        than 0.01 nats over the whole curve, a highest point below `min_height`, or one below twice
        the median depth of all points under the envelope.

    Raises:
        InputError: for NaN or inf, or a point without three numbers.

    Example:
        >>> knee([(1, 0.0, 0.0), (0.1, 1.0, 0.9), (0.01, 4.0, 1.0)]).point
        IBPoint(beta=0.1, rate=1.0, relevance=0.9)
    """
    return _knee(_check(points), check_number(min_height, "min_height", error=InputError))


def knee_over_seeds(
    curves: Sequence[Sequence[Sequence[float]]],
    min_height: float = _MIN_HEIGHT,
    resamples: int = 500,
    seed: int = 0,
) -> SeedKnees:
    """Find the knee of the mean curve of several seeds, and how sure the choice of beta is.

    Args:
        curves: one curve per seed, each with the same betas in the same order.
        min_height: as in `knee`.
        resamples: how often seeds are drawn with replacement for the bootstrap interval.
        seed: of these draws.

    Raises:
        InputError: for no curves, betas that differ between seeds, or as `knee`.
    """
    every = _stack(curves)
    resamples = check_count(resamples, "resamples", error=InputError)
    seed = check_count(seed, "seed", 0, InputError)
    min_height = check_number(min_height, "min_height", error=InputError)
    draws = np.random.default_rng(seed).integers(len(every), size=(resamples, len(every)))
    knees = [_knee(_mean(every[rows]), min_height) for rows in draws]
    betas = [drawn.point.beta for drawn in knees if isinstance(drawn, Knee)]
    return SeedKnees(
        _knee(_mean(every), min_height),
        tuple(_knee(curve, min_height) for curve in every),
        _central(betas) if betas else None,
        len(betas) / resamples,
    )


def one_error_rule(curves: Sequence[Sequence[Sequence[float]]]) -> IBPoint:
    """The point with the least rate whose relevance is within one standard error of the best.

    This second criterion asks what rate costs no relevance; the knee asks where more relevance
    begins to cost much. Where both agree the choice of beta is easy. It needs no range of rates. A
    single seed has no error: then the result is the best point itself.

    Source: the rule of one standard error of Breiman et al. (1984), "Classification and Regression
    Trees", section 3.4.3, on the mean over seeds.

    Args:
        curves: as `knee_over_seeds` takes them.

    Raises:
        InputError: as `knee_over_seeds`.

    Example:
        >>> curve = [(1, 0.0, 0.0), (0.1, 1.0, 0.9), (0.01, 4.0, 1.0)]
        >>> one_error_rule([curve, [(b, r, v * 1.5) for b, r, v in curve]])
        IBPoint(beta=0.1, rate=1.0, relevance=1.125)
    """
    every = _stack(curves)
    mean = _mean(every)
    best = int(mean[:, 2].argmax())
    error = every[:, best, 2].std(ddof=1) / len(every) ** 0.5 if len(every) > 1 else 0.0
    enough = np.flatnonzero(mean[:, 2] >= mean[best, 2] - error)
    return IBPoint(*mean[enough[mean[enough, 1].argmin()]].tolist())


def _stack(curves: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    """Curves over the same betas: `[seeds, points, 3]`."""
    stacked = [_check(curve) for curve in curves]
    if not stacked:
        raise InputError("expected at least one curve, got none")
    for number, curve in enumerate(stacked):
        if not np.array_equal(curve[:, 0], stacked[0][:, 0]):
            raise InputError(
                f"curve {number} has the betas {curve[:, 0].tolist()}, the first has "
                f"{stacked[0][:, 0].tolist()}; give every seed the same betas in the same order"
            )
    return np.stack(stacked)


def _mean(every: np.ndarray) -> np.ndarray:
    """The mean curve of `[seeds, points, 3]`, with the betas exactly as given."""
    return np.concatenate([every[0, :, :1], every[:, :, 1:].mean(0)], 1)


def _central(betas: list[float]) -> tuple[float, float]:
    """The betas at the 2.5 and 97.5 % quantiles; never one between two that were chosen."""
    low, high = np.quantile(betas, [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)


def _check(points: Iterable[Sequence[float]]) -> np.ndarray:
    try:
        rows = [tuple(float(number) for number in point) for point in points]
    except (TypeError, ValueError) as error:
        raise InputError(f"a curve is a list of points (beta, rate, relevance): {error}") from error
    if any(len(row) != 3 for row in rows):
        raise InputError("a point is (beta, rate, relevance); got one of another length")
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(table).all():
        bad = int(np.flatnonzero(~np.isfinite(table).all(1))[0])
        raise InputError(f"point {bad} holds NaN or inf: {rows[bad]}; leave it out")
    return table


def _envelope(table: np.ndarray) -> list[int]:
    order = np.lexsort((-table[:, 2], table[:, 1]))
    hull: list[int] = []
    for i in order:
        rate, relevance = table[i, 1:]
        if hull and relevance <= table[hull[-1], 2]:
            continue
        while len(hull) > 1 and _below(table, hull, rate, relevance):
            hull.pop()
        hull.append(int(i))
    return hull


def _below(table: np.ndarray, hull: list[int], rate: float, relevance: float) -> bool:
    """Whether the last point of the hull is on or below the line from the one before to a new."""
    (rate_a, relevance_a), (rate_b, relevance_b) = table[hull[-2], 1:], table[hull[-1], 1:]
    return (relevance_b - relevance_a) * (rate - rate_a) <= (relevance - relevance_a) * (
        rate_b - rate_a
    )


def _depth(table: np.ndarray, hull: list[int]) -> float:
    """How far the median point lies under the envelope, in nats."""
    return float(np.median(np.interp(table[:, 1], *table[hull, 1:].T) - table[:, 2]))


def _knee(table: np.ndarray, min_height: float) -> Knee | NoClearKnee:
    if len(np.unique(table[:, 1:], axis=0)) < _MIN_POINTS:
        return NoClearKnee("fewer than 3 distinct points; sweep more betas")
    hull = _envelope(table)
    rates, relevances = table[:, 1], table[hull, 2]
    gain = relevances[-1] - relevances[0]
    if gain < _MIN_GAIN:
        return NoClearKnee(
            f"relevance rises by {gain:.4f} nats, less than {_MIN_GAIN:g}: all points may have "
            "collapsed; sweep smaller betas"
        )
    u = (table[hull, 1] - rates.min()) / (rates.max() - rates.min())
    v = (relevances - relevances[0]) / gain
    best = int((v - u).argmax())
    height = float((v - u)[best])
    if height < min_height:
        return NoClearKnee(
            f"the curve bends too little: its highest point is {height:.2f} above the chord, less "
            f"than {min_height:g}; sweep larger betas to collapse and smaller ones to no gain",
            height,
        )
    depth = _depth(table, hull) / gain
    if height < _DEPTHS * depth:
        return NoClearKnee(
            f"the points scatter by {depth:.2f} under their envelope, whose highest point is "
            f"{height:.2f} above the chord: noise alone can do that; average more seeds",
            height,
        )
    index = hull[best]
    return Knee(index, IBPoint(*table[index].tolist()), height)
