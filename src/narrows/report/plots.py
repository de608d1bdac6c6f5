"""The charts of the report, each a pure function from plain rows to an Altair chart.

Colours are Okabe & Ito's, then Paul Tol's, which colour-blind readers can tell apart; a method
keeps its colour in all charts. Bands and bars are one standard deviation over seeds. The charts are
linked: a model that is picked in one of them is highlighted in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from narrows.report.selection import BETA, METHOD, highlighted, highlighted_method, linked

__all__ = [
    "PALETTE",
    "accuracy_against_beta",
    "accuracy_against_eps",
    "ib_curves",
    "log_beta",
    "projections",
]

PALETTE = [
    "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255",
    "#999933", "#332288", "#117733", "#AA4499", "#661100", "#44AA99", "#888888", "#DDCC77",
]  # fmt: skip
_CLASS_PALETTE = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00",
    "#56B4E9", "#000000", "#999933", "#882255", "#999999",
]  # fmt: skip
_WIDTH, _HEIGHT = 380, 280
_TARGET: dict[str, Any] = {"stroke": "transparent", "strokeWidth": 12}  # for a finger
Rows = Sequence[dict[str, Any]]
Chart = alt.LayerChart | alt.FacetChart


def ib_curves(members: Rows, knees: Rows, label_bits: float) -> Chart:
    """Information plane: I(Z;Y) against I(X;Z) in bits, training and test data side by side.

    Args:
        members: rows with `method`, `beta`, `seed`, `split`, `rate`, `relevance` (bits).
        knees: rows with `method`, `beta`, `rate`, `relevance`, `split`.
        label_bits: H(Y), which no I(Z;Y) exceeds.
    """
    top = max([label_bits, *(row["relevance"] for row in members)])
    right = max(row["rate"] for row in members)
    bounds = [
        {"split": split, "rate": rate, "relevance": relevance, "bound": bound}
        for split in ("training data", "test data")
        for bound, ends in (
            ("I(Z;Y) = I(X;Z)", ((0.0, 0.0), (min(top, right), min(top, right)))),
            ("I(Z;Y) = H(Y)", ((0.0, label_bits), (right, label_bits))),
        )
        for rate, relevance in ends
    ]
    data = [{"layer": "member", **row} for row in members]
    data += [{"layer": "knee", **row} for row in knees]
    data += [{"layer": "bound", **row} for row in bounds]
    rate = alt.X("rate:Q", title="I(X;Z), bits", scale=alt.Scale(nice=True))
    relevance = alt.Y("relevance:Q", title="I(Z;Y), bits", scale=alt.Scale(domainMin=0))
    base = alt.Chart().encode(rate, relevance)
    limit = (
        base.mark_line(color="#888888", strokeWidth=1)
        .encode(detail="bound:N", strokeDash=_dash("bound:N", [[6, 3], [1, 3]], "Bound"))
        .transform_filter("datum.layer == 'bound'")
    )
    member = base.transform_filter("datum.layer == 'member'")
    points = member.mark_circle(size=28).encode(
        color=_colour(members),
        opacity=highlighted(0.45),
        tooltip=["method:N", "beta:Q", "seed:O", *_bits()],
    )
    mean = member.transform_aggregate(
        rate="mean(rate)", relevance="mean(relevance)", groupby=["method", "beta"]
    ).encode(color=_colour(members), tooltip=["method:N", "beta:Q", *_bits()])
    line = mean.mark_line(strokeWidth=2).encode(order="beta:Q", opacity=highlighted_method(1))
    centres = mean.mark_circle(**_TARGET, size=55).encode(opacity=highlighted(1))
    knee = (
        base.mark_point(shape="diamond", size=260, strokeWidth=2.5, filled=False)
        .encode(
            color=_colour(members),
            opacity=highlighted_method(1),
            tooltip=["method:N", alt.Tooltip("beta:Q", title="knee")],
        )
        .transform_filter("datum.layer == 'knee'")
    )
    layers = alt.layer(limit, points, line, knee, centres, data=alt.Data(values=data))
    chart = layers.properties(width=_WIDTH, height=_HEIGHT).facet(
        column=alt.Column("split:N", title=None, sort=["training data", "test data"])
    )
    return linked(chart)


def accuracy_against_eps(rows: Rows) -> Chart:
    """Accuracy under FGSM and PGD against eps, one line per method, at a beta that can be chosen.

    Args:
        rows: with `method`, `beta`, `choices` (what the beta was chosen by), `attack`, `eps`,
            `mean`, `low`, `high`.
    """
    choices = list(dict.fromkeys(choice for row in rows for choice in row["choices"]))
    pick = alt.param(
        name="choice", value=choices[0],
        bind=alt.binding_radio(options=choices, name="beta of each method: "),
    )  # fmt: skip
    x = alt.X("eps:Q", title="eps, Linf radius in the [0, 1] image range")
    of_picked = f"({METHOD} === null || datum.method === {METHOD})"
    base = alt.Chart(alt.Data(values=list(rows))).transform_filter(
        f"{BETA} !== null && {of_picked} ? datum.beta === {BETA} : "
        "indexof(datum.choices, choice) >= 0"
    )
    seen = base.encode(
        x,
        alt.Y("mean:Q", title="accuracy", scale=alt.Scale(domain=[0, 1]), axis=_percent()),
        color=_colour(rows),
        tooltip=["method:N", "beta:Q", "attack:N", "eps:Q", alt.Tooltip("mean:Q", format=".1%")],
    )
    line = seen.mark_line(strokeWidth=2).encode(
        opacity=highlighted_method(1), strokeDash=_dash("attack:N", [[5, 4], [1, 0]], "Attack")
    )
    band = base.mark_area().encode(
        x,
        alt.Y("low:Q"),
        alt.Y2("high:Q"),
        color=_colour(rows),
        detail="attack:N",
        opacity=highlighted_method(0.15),
    )
    points = seen.mark_circle(**_TARGET, size=45).encode(opacity=highlighted_method(1))
    title = (
        f"({BETA} === null ? '' : 'beta = ' + {BETA} + ' of ' + ({METHOD} || 'every method') + "
        f"', else ') + 'beta of each method: ' + choice"
    )
    layers = alt.layer(band, line, points).add_params(pick)
    return linked(layers).properties(title=_title(title), width=_WIDTH + 120, height=_HEIGHT)


def accuracy_against_beta(rows: Rows, eps: Sequence[float]) -> Chart:
    """Clean accuracy, FGSM and PGD against beta, a panel a method, at an eps that can be chosen.

    Args:
        rows: with `method`, `beta`, `attack` (`clean`, `fgsm`, `pgd`), `eps`, `mean`, `low`,
            `high`.
        eps: the radii that can be chosen.
    """
    pick = alt.param(
        name="radius", value=eps[len(eps) // 2],
        bind=alt.binding_select(options=list(eps), name="eps of both attacks: "),
    )  # fmt: skip
    domain, colours = ["clean", "fgsm", "pgd"], [PALETTE[3], PALETTE[5], PALETTE[4]]
    colour = alt.Color("attack:N", title="Images", scale=alt.Scale(domain=domain, range=colours))
    base = alt.Chart().transform_filter("datum.eps == null || datum.eps == radius")
    x = alt.X("beta:O", title="beta", axis=alt.Axis(labelAngle=0))
    bars = base.mark_rule(strokeWidth=1.5).encode(
        x, alt.Y("low:Q"), alt.Y2("high:Q"), color=colour, opacity=highlighted(1)
    )
    mean = base.encode(
        x,
        alt.Y("mean:Q", title="accuracy", scale=alt.Scale(domain=[0, 1]), axis=_percent()),
        color=colour,
        tooltip=["method:N", "beta:O", "attack:N", alt.Tooltip("mean:Q", format=".1%")],
    )
    line = mean.mark_line(strokeWidth=2).encode(opacity=highlighted_method(1))
    points = mean.mark_circle(**_TARGET, size=40).encode(opacity=highlighted(1))
    layers = alt.layer(bars, line, points, data=alt.Data(values=list(rows)))
    chart = layers.properties(width=260, height=220).facet(column=_panels(rows))
    chart = chart.resolve_scale(x="independent").add_params(pick)
    return linked(chart).properties(title=_title("'FGSM and PGD at eps = ' + radius"))


def projections(rows: Rows) -> Chart:
    """First two principal components of the latent's means, coloured by class, at a chosen beta.

    Args:
        rows: with `method`, `rank` (position of the beta in its grid), `beta`, `x`, `y`, `label`.
    """
    last = max(row["rank"] for row in rows)
    pick = alt.param(
        name="rank", value=(last + 1) // 2,
        bind=alt.binding_range(min=0, max=last, step=1, name="beta, weak to strong: "),
    )  # fmt: skip
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    chosen = alt.Chart().transform_filter(
        f"datum.only || ({BETA} !== null && datum.method === {METHOD} ? "
        f"datum.beta === {BETA} : datum.rank == rank)"
    )
    points = chosen.mark_circle(size=22).encode(
        alt.X("x:Q", title="first component", axis=axis, scale=alt.Scale(zero=False)),
        alt.Y("y:Q", title="second component", axis=axis, scale=alt.Scale(zero=False)),
        alt.Color("label:N", title="Class", scale=alt.Scale(range=_CLASS_PALETTE)),
        opacity=highlighted_method(0.75),
        tooltip=["label:N", "beta:Q"],
    )
    beta = (
        chosen.transform_aggregate(beta="min(beta)", groupby=["method"])
        .transform_calculate(text="'beta = ' + datum.beta")
        .mark_text(align="left", fontSize=12)
        .encode(x=alt.value(6), y=alt.value(8), text="text:N")
    )
    layers = alt.layer(points, beta, data=alt.Data(values=list(rows)))
    chart = layers.properties(width=260, height=260).facet(column=_panels(rows))
    return linked(chart.resolve_scale(x="independent", y="independent").add_params(pick))


def log_beta(title: str = "beta") -> alt.X:
    """The axis of beta; of its ticks only 1, 3, 10, 30, ... have a label."""
    rounded = "indexof('13', format(datum.value, '.0e')[0]) >= 0 ? datum.label : ''"
    axis = alt.Axis(grid=False, labelOverlap="greedy", labelSeparation=4, labelExpr=rounded)
    return alt.X(
        "beta:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=8), axis=axis
    )


def _panels(rows: Rows) -> alt.Column:
    """A panel a method, in the order of the rows."""
    return alt.Column("method:N", title=None, sort=list(dict.fromkeys(r["method"] for r in rows)))


def _colour(rows: Rows) -> alt.Color:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    scale = alt.Scale(domain=methods, range=PALETTE[: len(methods)])
    return alt.Color("method:N", title="Method", scale=scale, legend=alt.Legend(symbolOpacity=1))


def _dash(field: str, dashes: list[list[int]], title: str) -> alt.StrokeDash:
    legend = alt.Legend(
        symbolType="stroke",
        symbolSize=400,
        symbolStrokeWidth=2,
        symbolStrokeColor="#333333",
        symbolOpacity=1,
    )
    return alt.StrokeDash(field, title=title, scale=alt.Scale(range=dashes), legend=legend)


def _percent() -> alt.Axis:
    return alt.Axis(format="%")


def _title(expression: str) -> alt.TitleParams:
    """A title that says what the reader has chosen, as a picture has no controls to say it."""
    text = alt.ExprRef(expression)
    return alt.TitleParams(text=text, anchor="start", fontWeight="normal")


def _bits() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("rate:Q", title="I(X;Z), bits", format=".3f"),
        alt.Tooltip("relevance:Q", title="I(Z;Y), bits", format=".3f"),
    ]
