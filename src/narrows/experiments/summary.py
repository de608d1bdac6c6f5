"""`summary.json`: mean and spread over seeds, the knee of each IB curve, the reported beta.

Both choices are made without test data. The *chosen* beta has the highest mean validation
accuracy, the larger beta where two are equal. The *knee* is read off the curve on training data.
Members that have diverged are in neither, nor in any mean.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import Any

from narrows.errors import StoreError
from narrows.experiments.config import RunConfig
from narrows.experiments.store import Folder
from narrows.information.curve import IBPoint, NoClearKnee, knee_over_seeds

__all__ = ["chosen_beta", "curve_point", "has_latent", "summarise"]

Record = dict[str, Any]


def summarise(config: RunConfig, folder: Folder) -> Record:
    """Everything the table and the knees need, from the results of a run's finished methods."""
    summary = {}
    for method in config.methods:
        records = folder.sub(method).read("results.json")
        summary[method] = {
            "chosen_beta": chosen_beta(records),
            "knee": _knee(records),
            "rows": [_row(beta, members) for beta, members in by_beta(records).items()],
        }
    return summary


def by_beta(records: Sequence[Record]) -> dict[float, list[Record]]:
    """The records of each beta, in the order of the betas."""
    groups: dict[float, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record["beta"]):
        groups[record["beta"]].append(record)
    return groups


def chosen_beta(records: Sequence[Record]) -> float:
    """The beta with the highest validation accuracy, averaged over seeds."""
    means = {
        beta: fmean(member["accuracy"]["validation"] for member in members)
        for beta, members in by_beta(records).items()
    }
    return max(means, key=lambda beta: (means[beta], beta))


def curve_point(record: Record, split: str) -> tuple[float, float]:
    """I(X;Z) and I(Z;Y) of one member, in nats, as they are drawn in the information plane.

    Both by the same pairwise distance (Kullback-Leibler), whose biases then cancel in part.

    Raises:
        StoreError: for a model without a latent; see `has_latent`.
    """
    information = record["information"][split]
    if not has_latent(record):
        raise StoreError(f"{record['method']} has no I(X;Z): no latent, or one of full covariance")
    relevance = information["kde_relevance_upper"]["diagnostics"]["same_distance"]
    return information["kde_upper"]["nats"], relevance


def has_latent(record: Record) -> bool:
    """Whether a member's I(X;Z) and I(Z;Y) were measured, for which it needs a latent."""
    return "kde_upper" in record["information"]["train"]


def _knee(records: Sequence[Record]) -> Record:
    groups = by_beta(records)
    if len(groups) < 3:
        return {"beta": None, "why": "a knee needs at least three betas"}
    if not all(map(has_latent, records)):
        return {"beta": None, "why": "no I(X;Z) was measured: no latent, or one of full covariance"}
    counted = Counter(record["seed"] for record in records)
    seeds = sorted(seed for seed, betas in counted.items() if betas == len(groups))
    if not seeds:
        return {"beta": None, "why": "a member has diverged with every seed"}
    curves = [
        [
            IBPoint(beta, *curve_point(member, "train"))
            for beta, members in groups.items()
            for member in members
            if member["seed"] == seed
        ]
        for seed in seeds
    ]
    found = knee_over_seeds(curves)
    if isinstance(found.mean, NoClearKnee):
        return {"beta": None, "why": found.mean.reason}
    return {
        "beta": found.mean.point.beta,
        "height": found.mean.height,
        "interval": found.interval,
        "clear_share": found.clear_share,
    }


def _row(beta: float, members: Sequence[Record]) -> Record:
    def spread(read: Callable[[Record], float | None]) -> Record | None:
        values = [value for member in members if (value := read(member)) is not None]
        if not values:
            return None
        return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else None}

    row: Record = {
        "beta": beta,
        "seeds": len(members),
        "accuracy": {
            split: spread(lambda member, split=split: member["accuracy"][split])
            for split in ("train", "validation", "test")
        },
        "information_bits": {
            split: [
                spread(lambda member, split=split, axis=axis: _bits(member, split, axis))
                for axis in (0, 1)
            ]
            for split in ("train", "test")
        },
        "attacks": [],
    }
    for index, attack in enumerate(members[0].get("attacks", ())):
        read = "accuracy" if attack["eps"] is not None else "median_distance"
        row["attacks"].append(
            {
                "attack": attack["attack"],
                "eps": attack["eps"],
                read: spread(lambda member, i=index, key=read: member["attacks"][i][key]),
            }
        )
    return row


def _bits(member: Record, split: str, axis: int) -> float | None:
    if not has_latent(member):
        return None
    return curve_point(member, split)[axis] / math.log(2)
