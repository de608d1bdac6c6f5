"""What is said of a run's models together: mean and spread over seeds, the chosen beta, the knee.

Both choices are made without test data. The *chosen* beta has the highest mean validation
accuracy, the larger beta where two are equal. The *knee* is read off the IB curve on training data.
Models that have diverged are in neither, nor in any mean.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from narrows.runs.knees import KneeRecord, find_knee
from narrows.runs.records import MemberRecord

__all__ = ["AttackSummary", "BetaSummary", "MethodSummary", "Spread", "chosen_beta", "summarise"]


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and standard deviation where there are several."""

    mean: float
    std: float | None = None


@dataclass(frozen=True)
class AttackSummary:
    """One attack over the seeds of one beta; see `AttackRecord`."""

    attack: str
    eps: float | None
    accuracy: Spread | None
    median_distance: Spread | None


@dataclass(frozen=True)
class BetaSummary:
    """One beta of a method over its seeds.

    Attributes:
        beta: the beta.
        seeds: number of models.
        accuracy: by `"train"`, `"validation"` and `"test"`.
        information_bits: I(X;Z) and I(Z;Y) in bits by `"train"` and `"test"`; empty without.
        attacks: in the order in which they were run.
    """

    beta: float
    seeds: int
    accuracy: dict[str, Spread]
    information_bits: dict[str, tuple[Spread, Spread]] = field(default_factory=dict)
    attacks: list[AttackSummary] = field(default_factory=list)

    def attack(self, name: str, eps: float | None) -> AttackSummary | None:
        """The attack of that name and radius, if it was run."""
        matching = (row for row in self.attacks if (row.attack, row.eps) == (name, eps))
        return next(matching, None)


@dataclass(frozen=True)
class MethodSummary:
    """One method of a run.

    Attributes:
        chosen_beta: the beta chosen on validation data; `None` if every model has diverged.
        knee: of the IB curve.
        rows: one for each beta, rising.
    """

    chosen_beta: float | None
    knee: KneeRecord
    rows: list[BetaSummary]


def summarise(records: Sequence[MemberRecord]) -> MethodSummary:
    """Summarise the records of one method."""
    rows = [_row(beta, group) for beta, group in _by_beta(records).items()]
    return MethodSummary(chosen_beta(records), find_knee(records, "train"), rows)


def chosen_beta(records: Sequence[MemberRecord]) -> float | None:
    """The beta with the highest validation accuracy, averaged over seeds."""
    means = {
        beta: fmean(record.accuracy.validation for record in group)
        for beta, group in _by_beta(records).items()
    }
    return max(means, key=lambda beta: (means[beta], beta), default=None)


def _by_beta(records: Sequence[MemberRecord]) -> dict[float, list[MemberRecord]]:
    groups: dict[float, list[MemberRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.beta):
        groups[record.beta].append(record)
    return groups


def _row(beta: float, records: Sequence[MemberRecord]) -> BetaSummary:
    def spread(read: Callable[[MemberRecord], float]) -> Spread:
        return _spread([read(record) for record in records])

    information = {}
    for split in ("train", "test"):
        points = [record.curve_point(split) for record in records if record.has_latent]
        if points:
            rates, relevances = (
                [nats / math.log(2) for nats in axis] for axis in zip(*points, strict=True)
            )
            information[split] = (_spread(rates), _spread(relevances))
    accuracy = {
        "train": spread(lambda record: record.accuracy.train),
        "validation": spread(lambda record: record.accuracy.validation),
        "test": spread(lambda record: record.accuracy.test),
    }
    return BetaSummary(beta, len(records), accuracy, information, _attacks(records))


def _attacks(records: Sequence[MemberRecord]) -> list[AttackSummary]:
    summaries = []
    for column in zip(*(record.attacks or [] for record in records), strict=False):
        accuracies = [row.accuracy for row in column if row.accuracy is not None]
        distances = [row.median_distance for row in column if row.median_distance is not None]
        summaries.append(
            AttackSummary(
                column[0].attack,
                column[0].eps,
                _spread(accuracies) if accuracies else None,
                _spread(distances) if distances else None,
            )
        )
    return summaries


def _spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)
