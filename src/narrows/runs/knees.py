"""The knee of a method's IB curve over the seeds of a run, with a second criterion beside it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from narrows.information import IBPoint, Knee, knee_over_seeds, one_error_rule
from narrows.runs.records import MemberRecord

__all__ = ["CurvePoint", "KneeRecord", "find_knee"]

_FEWEST = 3


@dataclass(frozen=True)
class CurvePoint:
    """A point of an IB curve, in bits."""

    beta: float
    rate: float
    relevance: float


@dataclass(frozen=True)
class KneeRecord:
    """Where a method's IB curve bends most, or why that cannot be said.

    Attributes:
        point: the knee of the mean curve; `None` where it has no clear one.
        why: the reason, where there is none.
        height: of the knee above the chord, a share of the curve's extent.
        interval: of 95 % of the knees when seeds are drawn with replacement.
        clear_share: the share of those curves that have a clear knee.
        by_seed: the knee of each seed's own curve.
        seeds: number of seeds that have a model at every beta.
        one_error: the least I(X;Z) whose I(Z;Y) is within one standard error of the best.
    """

    point: CurvePoint | None = None
    why: str | None = None
    height: float | None = None
    interval: tuple[float, float] | None = None
    clear_share: float = 0.0
    by_seed: list[float | None] = field(default_factory=list)
    seeds: int = 0
    one_error: CurvePoint | None = None

    @property
    def beta(self) -> float | None:
        """The beta at the knee, if there is one."""
        return None if self.point is None else self.point.beta


def find_knee(records: Sequence[MemberRecord], split: str = "train") -> KneeRecord:
    """The knee of the IB curve of one method.

    Args:
        records: of the method's models.
        split: `"train"` or `"test"`, the data that the curve was measured on.
    """
    betas = sorted({record.beta for record in records})
    if len(betas) < _FEWEST:
        return KneeRecord(why=f"a knee needs at least {_FEWEST} betas, there are {len(betas)}")
    if not all(record.has_latent for record in records):
        return KneeRecord(why="no I(X;Z) was measured: no latent, or one of full covariance")
    counted = Counter(record.seed for record in records)
    seeds = sorted(seed for seed, count in counted.items() if count == len(betas))
    if not seeds:
        return KneeRecord(why="no seed has a model at every beta, since some have diverged")
    places = {(record.seed, record.beta): record.curve_point(split) for record in records}
    curves = [[IBPoint(beta, *places[seed, beta]) for beta in betas] for seed in seeds]
    result = knee_over_seeds(curves)
    second = _in_bits(one_error_rule(curves))
    shared = {"clear_share": result.clear_share, "seeds": len(seeds), "one_error": second}
    if not isinstance(result.mean, Knee):
        return KneeRecord(why=result.mean.reason, **shared)
    point = _in_bits(result.mean.point)
    return KneeRecord(
        point=point,
        height=result.mean.height,
        # The mean curve has a knee; curves of resampled seeds may have none.
        interval=result.interval or (point.beta, point.beta),
        by_seed=[knee.point.beta if isinstance(knee, Knee) else None for knee in result.by_seed],
        **shared,
    )


def _in_bits(point: IBPoint) -> CurvePoint:
    rate, relevance = (nats / math.log(2) for nats in point[1:])
    return CurvePoint(point.beta, rate, relevance)
