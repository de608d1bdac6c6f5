"""Figures 1 and 2 of information multi-bottlenecks: the exact plane of every layer as it learns.

Source: Nguyen & Choi (2017), arXiv 1712.01272. The folder is that of
`python -m narrows.papers.imb`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import altair as alt

from narrows.papers.imb import PlanePoint, TrainingPlane
from narrows.report.page import Section
from narrows.report.plots import PALETTE
from narrows.report.tables import ResultTable

__all__ = ["dynamics_sections", "layer_rows"]

_WIDTH, _HEIGHT = 300, 250
Row = dict[str, Any]


def dynamics_sections(plane: TrainingPlane) -> list[Section]:
    """The plane of each method, coloured by epoch; relevance against epochs; epochs to reach."""
    methods = plane.config.methods
    rows = layer_rows(plane.points)
    text = (
        f"Exact, by enumeration of all codes; means over {plane.config.seeds} seeds. A line joins "
        "the layers of one epoch, the first layer on the right."
    )
    return [
        Section("Information plane", [text], _plane(rows, methods)),
        Section(
            "Relevance against epochs",
            ["Bands are one standard deviation over seeds."],
            _relevance(rows, methods),
        ),
        Section(
            "Epochs until layer 1 has the final relevance of SFNN's best layer", table=_table(plane)
        ),
    ]


def layer_rows(planes: Mapping[str, Sequence[PlanePoint]]) -> list[Row]:
    """One row for each method, measured epoch and layer: means over seeds, in bits."""
    rows = []
    for method, points in planes.items():
        for point in points:
            layers = zip(
                zip(*point.rate, strict=True), zip(*point.relevance, strict=True), strict=True
            )
            for layer, (rates, relevances) in enumerate(layers, start=1):
                spread = stdev(relevances) if len(relevances) > 1 else 0.0
                mean = fmean(relevances)
                place = {"rate": fmean(rates), "relevance": mean}
                band = {"low": max(0.0, mean - spread), "high": mean + spread}
                series = {"method": method, "epoch": point.epoch, "layer": layer}
                rows.append(series | place | band)
    return rows


def _powers(rows: Sequence[Row]) -> list[int]:
    """1, 10, 100 and so on, up to the last epoch."""
    last = max(row["epoch"] for row in rows)
    return [10**power for power in range(len(str(last)))]


def _plane(rows: Sequence[Row], methods: Sequence[str]) -> Any:
    base = (
        alt.Chart()
        .transform_calculate(shown="datum.epoch + 1")
        .encode(
            alt.X("rate:Q", title="I(X;Z), bits"),
            alt.Y("relevance:Q", title="I(Z;Y), bits"),
            alt.Color(
                "shown:Q",
                title="Epoch",
                scale=alt.Scale(type="log", scheme="viridis"),
                legend=alt.Legend(values=_powers(rows), format="~s"),
            ),
        )
    )
    line = base.mark_line(strokeWidth=0.8, opacity=0.6).encode(detail="epoch:N", order="layer:Q")
    dots = base.mark_circle(size=30, opacity=0.9).encode(
        tooltip=["epoch:Q", "layer:O", "rate:Q", "relevance:Q"]
    )
    layers = alt.layer(line, dots, data=alt.Data(values=list(rows)))
    return layers.properties(width=_WIDTH, height=_HEIGHT).facet(
        column=alt.Column("method:N", title=None, sort=list(methods))
    )


def _relevance(rows: Sequence[Row], methods: Sequence[str]) -> Any:
    seen = [row for row in rows if row["epoch"] > 0]
    layers = sorted({row["layer"] for row in rows})
    colour = alt.Color(
        "method:N",
        title="Method",
        scale=alt.Scale(domain=methods, range=PALETTE[: len(methods)]),
        legend=alt.Legend(symbolOpacity=1),
    )
    base = alt.Chart().encode(
        alt.X(
            "epoch:Q",
            title="epoch",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(grid=False, values=_powers(seen), format="~s"),
        )
    )
    band = base.mark_area(opacity=0.2).encode(
        alt.Y("low:Q", title="I(Z;Y), bits"), alt.Y2("high:Q"), colour
    )
    line = base.mark_line(strokeWidth=2).encode(y="relevance:Q", color=colour)
    chart = alt.layer(band, line, data=alt.Data(values=seen)).properties(width=200, height=180)
    return chart.facet(column=alt.Column("layer:O", title="Layer", sort=layers))


def _table(plane: TrainingPlane) -> ResultTable:
    body = []
    for method, reached in plane.reached.items():
        share = reached.layer_1
        body.append(
            [
                method,
                "never" if share is None else f"{share:.2%} of SFNN's epochs",
                *(f"{bits:.3f}" for bits in plane.points[method][-1].mean_relevance()),
                f"{max(reached.highest):.3f}",
            ]
        )
    layers = [f"I(Z{i};Y) at the end" for i in range(1, len(body[0]) - 2)] if body else []
    return ResultTable(["method", "layer 1 reaches it after", *layers, "highest"], body)
