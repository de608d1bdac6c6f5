"""Charts of several runs over each other: a panel for each method, a colour for each run.

Bands and bars are one standard deviation over seeds; the charts are linked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from narrows.report.plots import PALETTE, log_beta
from narrows.report.selection import highlighted, highlighted_method, linked

__all__ = ["curves_of_runs", "robustness_of_runs", "sweeps_of_runs"]

Rows = Sequence[dict[str, Any]]

_RATE, _RELEVANCE = "I(X;Z), bits", "I(Z;Y), bits"
_SIZE = {"width": 380, "height": 260}
_PERCENT = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(format="%")}


def curves_of_runs(rows: Rows) -> Any:
    """The IB curves, means over seeds with crosses.

    Args:
        rows: with `run`, `method`, `beta`, `rate`, `relevance` and the ends `rate_low`,
            `rate_high`, `low`, `high`, in bits.
    """
    x, y = alt.X("rate:Q", title=_RATE), alt.Y("relevance:Q", title=_RELEVANCE)
    base = alt.Chart().encode(color=_run(rows), opacity=highlighted(1))
    across = base.mark_rule().encode(alt.X("rate_low:Q", title=_RATE), y, alt.X2("rate_high:Q"))
    along = base.mark_rule().encode(x, alt.Y("low:Q", title=_RELEVANCE), alt.Y2("high:Q"))
    line = alt.Chart().mark_line(strokeWidth=2)
    line = line.encode(x, y, _run(rows), highlighted_method(1), order="beta:Q")
    shown = [alt.Tooltip(f"{axis}:Q", format=".3f") for axis in ("rate", "relevance")]
    points = _points(base).encode(x, y, tooltip=["run:N", "method:N", "beta:Q", *shown])
    return _panels([across, along, line, points], rows)


def robustness_of_runs(rows: Rows) -> Any:
    """Accuracy under FGSM (dashed) and PGD (solid) against eps.

    Args:
        rows: with `run`, `method`, `beta`, `attack`, `eps`, `mean`, `low`, `high`.
    """
    x = alt.X("eps:Q", title="eps, Linf radius in the [0, 1] image range")
    y = alt.Y("mean:Q", title="accuracy", **_PERCENT)
    dash = alt.StrokeDash(
        "attack:N",
        title="Attack",
        scale=alt.Scale(domain=["fgsm", "pgd"], range=[[5, 4], [1, 0]]),
        legend=alt.Legend(symbolType="stroke", symbolStrokeColor="#333333", symbolSize=400),
    )
    base = alt.Chart().encode(x, color=_run(rows))
    band = base.mark_area().encode(
        alt.Y("low:Q"), alt.Y2("high:Q"), detail="attack:N", opacity=highlighted_method(0.15)
    )
    line = base.mark_line(strokeWidth=2).encode(y, dash, opacity=highlighted_method(1))
    points = _points(base).encode(y, opacity=highlighted_method(1), tooltip=_accuracy("attack:N"))
    return _panels([band, line, points], rows)


def sweeps_of_runs(rows: Rows, radii: Sequence[float]) -> Any:
    """Accuracy against beta, clean and under PGD at an eps that can be chosen.

    Args:
        rows: with `run`, `method`, `beta`, `eps` (0 for clean images), `mean`, `low`, `high`.
        radii: that can be chosen, 0 first.
    """
    pick = alt.param(
        name="radius",
        value=radii[len(radii) // 2],
        bind=alt.binding_select(options=list(radii), name="eps of PGD (0: clean images): "),
    )
    y = alt.Y("mean:Q", title="accuracy", **_PERCENT)
    base = alt.Chart().transform_filter("datum.eps == radius")
    base = base.encode(log_beta(), color=_run(rows))
    bars = base.mark_rule(strokeWidth=1.5)
    bars = bars.encode(alt.Y("low:Q"), alt.Y2("high:Q"), opacity=highlighted(1))
    line = base.mark_line(strokeWidth=2).encode(y, opacity=highlighted_method(1))
    points = _points(base).encode(y, opacity=highlighted(1), tooltip=_accuracy("eps:Q"))
    text = alt.ExprRef("radius == 0 ? 'clean images' : 'PGD at eps = ' + radius")
    title = alt.TitleParams(text=text, anchor="start", fontWeight="normal")
    chart = _panels([bars, line, points], rows).add_params(pick)
    return chart.resolve_scale(x="independent").properties(title=title)


def _panels(layers: Sequence[Any], rows: Rows) -> Any:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    layered = alt.layer(*layers, data=alt.Data(values=list(rows))).properties(**_SIZE)
    return linked(layered.facet(column=alt.Column("method:N", title=None, sort=methods)))


def _points(base: Any) -> Any:
    return base.mark_circle(size=45, stroke="transparent", strokeWidth=12)


def _run(rows: Rows) -> alt.Color:
    runs = list(dict.fromkeys(row["run"] for row in rows))
    scale = alt.Scale(domain=runs, range=[PALETTE[i % len(PALETTE)] for i in range(len(runs))])
    legend = alt.Legend(symbolOpacity=1, labelLimit=320)
    return alt.Color("run:N", title="Run", scale=scale, legend=legend)


def _accuracy(of: str) -> list[Any]:
    return ["run:N", "method:N", "beta:Q", of, alt.Tooltip("mean:Q", format=".1%")]
