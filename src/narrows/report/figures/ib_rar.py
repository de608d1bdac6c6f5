"""Figures 3 and 5 of IB-RAR: its last hidden layer by t-SNE, and a layer's dependence in training.

Source: Xu, Perin & Picek (2022), arXiv 2302.10896.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from narrows.papers.ib_rar_figures import LayerMap
from narrows.papers.ib_rar_plane import DependenceRecord
from narrows.report.page import Section
from narrows.report.plots import PALETTE

__all__ = ["dependence_sections", "map_sections"]

_SIZE = 300


def map_sections(maps: Sequence[LayerMap], class_names: Sequence[str] = ()) -> list[Section]:
    """A panel for each method: every image a point, coloured by its class.

    Args:
        maps: one for each method.
        class_names: what the classes are called; empty for their numbers.
    """
    layers = ", ".join(f"{each.layer} of {each.member.method}" for each in maps)
    text = (
        f"The last hidden layer ({layers}) of {len(maps[0].labels):,} test images, by t-SNE. "
        "Distances between clusters and sizes of clusters have no meaning in such a map."
    )
    rows = [
        {"method": _title(each), "x": x, "y": y, "class": _name(label, class_names)}
        for each in maps
        for (x, y), label in zip(each.places, each.labels, strict=True)
    ]
    classes = [_name(label, class_names) for label in sorted({*maps[0].labels})]
    # The colours of Okabe & Ito and of Tol repeat where there are more classes than colours.
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(classes))]
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_circle(size=18, opacity=0.75)
        .encode(
            alt.X("x:Q", title="t-SNE 1 (no unit)", axis=axis, scale=alt.Scale(zero=False)),
            alt.Y("y:Q", title="t-SNE 2 (no unit)", axis=axis, scale=alt.Scale(zero=False)),
            alt.Color("class:N", title="Class", scale=alt.Scale(domain=classes, range=colours)),
            tooltip=["class:N"],
        )
        .properties(width=_SIZE, height=_SIZE)
        .facet(column=alt.Column("method:N", title=None, sort=[_title(each) for each in maps]))
        .resolve_scale(x="independent", y="independent")
    )
    return [Section("Last hidden layer", [text], chart)]


def _title(each: LayerMap) -> str:
    beta = each.member.beta
    return f"{each.member.method}, beta = {beta:g}" if beta else each.member.method


def _name(label: int, class_names: Sequence[str]) -> str:
    return class_names[label] if class_names else str(label)


def dependence_sections(record: DependenceRecord) -> list[Section]:
    """A panel for each method: where its layer goes in the plane of nHSIC, coloured by step."""
    config = record.config
    text = (
        f"{config.layer}, on {config.images:,} training images in batches of {config.batch_size}, "
        f"before the first step and every {config.every} steps. nHSIC lies between 0 and the size "
        "of a batch; it is no information in bits."
    )
    rows = [
        {"method": method, "step": point.step, "x": point.of_inputs, "y": point.of_labels}
        for method, points in record.points.items()
        for point in points
    ]
    return [Section("Dependence on images and labels", [text], _plane(rows, [*record.points]))]


def _plane(rows: Sequence[dict[str, Any]], methods: Sequence[str]) -> Any:
    base = alt.Chart().encode(
        alt.X("x:Q", title="nHSIC(X, T), no unit", scale=alt.Scale(zero=False)),
        alt.Y("y:Q", title="nHSIC(Y, T), no unit", scale=alt.Scale(zero=False)),
        order="step:Q",
    )
    line = base.mark_line(color="#888888", strokeWidth=0.8, opacity=0.6)
    dots = base.mark_circle(size=45, opacity=0.9).encode(
        alt.Color("step:Q", title="Step", scale=alt.Scale(scheme="viridis")),
        tooltip=["step:Q", alt.Tooltip("x:Q", format=".3f"), alt.Tooltip("y:Q", format=".3f")],
    )
    layers = alt.layer(line, dots, data=alt.Data(values=list(rows)))
    return layers.properties(width=_SIZE, height=_SIZE).facet(
        column=alt.Column("method:N", title=None, sort=list(methods))
    )
