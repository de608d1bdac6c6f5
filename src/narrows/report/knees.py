"""The table of knees."""

from __future__ import annotations

from collections.abc import Mapping

from narrows.report.tables import ResultTable
from narrows.runs.knees import KneeRecord

__all__ = ["knee_table"]

_COLUMNS = [
    "method",
    "knee",
    "95 % of seeds",
    "clear",
    "I(X;Z) bits",
    "I(Z;Y) bits",
    "1-SE rule",
]


def knee_table(knees: Mapping[str, KneeRecord]) -> ResultTable:
    """One row for each method; see `KneeRecord` for the columns."""
    rows = []
    for method, knee in knees.items():
        rule = f"{knee.one_error.beta:g}" if knee.one_error else "-"
        if knee.point is None or knee.interval is None:
            rows.append([method, f"no clear knee: {knee.why}", "", "", "", "", rule])
            continue
        low, high = knee.interval
        rows.append(
            [
                method,
                f"{knee.point.beta:g}",
                f"{low:g} to {high:g}",
                f"{knee.clear_share:.0%}",
                f"{knee.point.rate:.2f}",
                f"{knee.point.relevance:.3f}",
                rule,
            ]
        )
    return ResultTable(_COLUMNS, rows)
