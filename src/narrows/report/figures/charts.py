"""What several figures draw: a quantity against beta, a dot a model, a line through the means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from narrows.report.plots import log_beta
from narrows.report.selection import highlighted, highlighted_method, linked

__all__ = ["PERCENT", "against_beta"]

Rows = Sequence[dict[str, Any]]

PERCENT = alt.Axis(format="%")


def against_beta(
    rows: Rows,
    title: str,
    colour: Any,
    column: alt.Column,
    percent: bool = False,
    knees: Rows = (),
) -> Any:
    """A panel for each method: every model, the mean over seeds, and a rule at the knee.

    Args:
        rows: with `method`, `beta`, `seed`, `value`, and the field of `colour`.
        title: of the axis of `value`, with its unit.
        colour: what tells the lines of a panel apart.
        column: the panels.
        percent: whether `value` is a share.
        knees: with `method` and `beta`, drawn as rules.
    """
    y = alt.Y(
        "value:Q",
        title=title,
        scale=alt.Scale(domain=[0, 1]) if percent else alt.Scale(zero=True),
        axis=PERCENT if percent else alt.Axis(),
    )
    base = alt.Chart().transform_filter("!datum.knee")
    shown = [alt.Tooltip("beta:Q"), "seed:O", alt.Tooltip("value:Q", format=".3f")]
    dots = base.mark_circle(size=35, stroke="transparent", strokeWidth=12).encode(
        log_beta(), y, color=colour, opacity=highlighted(0.6), tooltip=shown
    )
    mean = base.mark_line(strokeWidth=2).encode(
        log_beta(),
        alt.Y("mean(value):Q", title=title),
        color=colour,
        detail="method:N",
        opacity=highlighted_method(1),
    )
    rule = (
        alt.Chart()
        .mark_rule(color="#D55E00", strokeDash=[5, 4], strokeWidth=1.5)
        .encode(log_beta(), opacity=highlighted_method(1))
        .transform_filter("datum.knee")
    )
    data = [{**row, "knee": False} for row in rows] + [{**knee, "knee": True} for knee in knees]
    layers = alt.layer(rule, dots, mean, data=alt.Data(values=data))
    chart = layers.properties(width=190, height=130).facet(column=column)
    return linked(chart.resolve_scale(x="independent"))
