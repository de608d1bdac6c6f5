"""What several figures draw: a quantity against beta, a dot a model, a line through the means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

__all__ = ["PERCENT", "against_beta", "log_beta"]

Rows = Sequence[dict[str, Any]]

PERCENT = alt.Axis(format="%")


def log_beta(title: str = "beta") -> alt.X:
    """The axis of beta; of its ticks only 1, 3, 10, 30, ... have a label."""
    rounded = "indexof('13', format(datum.value, '.0e')[0]) >= 0 ? datum.label : ''"
    axis = alt.Axis(grid=False, labelOverlap="greedy", labelSeparation=4, labelExpr=rounded)
    return alt.X("beta:Q", title=title, scale=alt.Scale(type="log"), axis=axis)


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
    dots = base.mark_circle(size=35, opacity=0.45).encode(
        log_beta(), y, color=colour, tooltip=shown
    )
    mean = base.mark_line(strokeWidth=2).encode(
        log_beta(), alt.Y("mean(value):Q", title=title), color=colour
    )
    rule = (
        alt.Chart()
        .mark_rule(color="#D55E00", strokeDash=[5, 4], strokeWidth=1.5)
        .encode(log_beta())
        .transform_filter("datum.knee")
    )
    data = [{**row, "knee": False} for row in rows] + [{**knee, "knee": True} for knee in knees]
    layers = alt.layer(rule, dots, mean, data=alt.Data(values=data))
    return (
        layers.properties(width=190, height=130).facet(column=column).resolve_scale(x="independent")
    )
