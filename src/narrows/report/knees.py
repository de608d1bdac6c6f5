"""The knee of each method's IB curve in a run, with the second criterion beside it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from narrows.experiments.summary import curve_point, has_latent
from narrows.information import IBPoint, Knee, knee_over_seeds, one_error_rule
from narrows.report.rows import Run
from narrows.report.tables import ResultTable

__all__ = ["find_knees", "knee_table"]

_FEWEST = 3


def find_knees(run: Run, split: str = "train") -> list[dict[str, Any]]:
    """One row a method: its knee or why there is none, and the second criterion, in bits.

    Args:
        run: a finished one.
        split: `"train"` or `"test"`, the data that the curve was measured on.
    """
    return [{"method": method, **_find(rows, split)} for method, rows in run.records.items()]


def knee_table(found: list[dict[str, Any]]) -> ResultTable:
    """Rows of text."""
    columns = [
        "method",
        "knee",
        "95 % of seeds",
        "clear",
        "I(X;Z) bits",
        "I(Z;Y) bits",
        "1-SE rule",
    ]
    rows = []
    for one in found:
        knee, second = one["knee"], one["one_error"]
        rule = f"{second['beta']:g}" if second else "-"
        if knee is None:
            rows.append([one["method"], f"no clear knee: {one['why']}", "", "", "", "", rule])
            continue
        low, high = one["interval"]
        rows.append(
            [
                one["method"],
                f"{knee['beta']:g}",
                f"{low:g} to {high:g}",
                f"{one['clear_share']:.0%}",
                f"{knee['rate']:.2f}",
                f"{knee['relevance']:.3f}",
                rule,
            ]
        )
    return ResultTable(columns, rows)


def _find(records: list[dict[str, Any]], split: str) -> dict[str, Any]:
    nothing = {"knee": None, "interval": None, "clear_share": 0.0, "one_error": None}
    betas = sorted({record["beta"] for record in records})
    if len(betas) < _FEWEST:
        return {**nothing, "why": f"{len(betas)} betas; a knee needs at least {_FEWEST}"}
    if not all(map(has_latent, records)):
        return {**nothing, "why": "no I(X;Z) was measured: no latent, or one of full covariance"}
    counted = Counter(record["seed"] for record in records)
    seeds = sorted(seed for seed, count in counted.items() if count == len(betas))
    if not seeds:
        return {**nothing, "why": "no seed has a model at every beta"}
    places = {(r["seed"], r["beta"]): curve_point(r, split) for r in records}
    curves = [[IBPoint(beta, *places[seed, beta]) for beta in betas] for seed in seeds]
    found = knee_over_seeds(curves)
    about = {
        "seeds": len(seeds),
        "clear_share": found.clear_share,
        "one_error": _bits(one_error_rule(curves)),
    }
    if not isinstance(found.mean, Knee):
        return {**nothing, **about, "why": found.mean.reason}
    knee = {**_bits(found.mean.point), "height": found.mean.height}
    # The mean curve has a knee; curves of resampled seeds may have none.
    interval = found.interval or (knee["beta"], knee["beta"])
    by_seed = [one.point.beta if isinstance(one, Knee) else None for one in found.by_seed]
    return {**about, "knee": knee, "interval": list(interval), "by_seed": by_seed, "why": None}


def _bits(point: IBPoint) -> dict[str, float]:
    rate, relevance = (nats / math.log(2) for nats in point[1:])
    return {"beta": point.beta, "rate": rate, "relevance": relevance}
