"""Figures 5 to 7 of the re-evaluation: accuracy against beta on the toys, and the first's samples.

Source: Korshunova, Stutz, Alemi, Wiles & Gowal (2021), arXiv 2107.05712, appendix.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

import altair as alt

from narrows.data.toys import Toy1
from narrows.papers.toys import ToyResult
from narrows.report.figures.charts import PERCENT
from narrows.report.page import Section
from narrows.report.plots import PALETTE, log_beta

__all__ = ["sample_section", "toy_rows", "toy_sections"]

_SERIES = {
    "mean": "VIB, mean of the code",
    "sample": "VIB, 12 draws of the code",
    "deterministic": "linear network",
}
_PANELS = {"clean": "samples as they come", "shifted": "samples that contradict the label"}
_DRAWN = 1000
_WIDTH, _HEIGHT = 330, 260


def toy_sections(results: Sequence[ToyResult]) -> list[Section]:
    """Accuracy against beta, on samples as they come and on contradicting ones."""
    seeds = len({result.seed for result in results})
    text = (
        f"Means over {seeds} {'seed' if seeds == 1 else 'seeds'}; bars and the band are one "
        "standard deviation. The linear network has no beta."
    )
    return [Section("Accuracy against beta", [text], _accuracy(toy_rows(results)))]


def toy_rows(results: Sequence[ToyResult]) -> list[dict[str, Any]]:
    """One row for each kind of samples, network, mode and beta: mean and spread over seeds."""
    groups: dict[tuple[str, float], list[ToyResult]] = {}
    for result in results:
        groups.setdefault((result.mode, result.beta), []).append(result)
    rows = []
    for panel, title in _PANELS.items():
        for (mode, beta), group in groups.items():
            shares = [getattr(result, panel) for result in group]
            mean, spread = fmean(shares), stdev(shares) if len(shares) > 1 else 0.0
            ends = {"low": max(0.0, mean - spread), "high": min(1.0, mean + spread)}
            series = {"panel": title, "series": _SERIES[mode], "beta": beta}
            rows.append(series | {"mean": mean} | ends)
    return rows


def _accuracy(rows: Sequence[dict[str, Any]]) -> Any:
    names = list(_SERIES.values())
    scale = alt.Scale(domain=names, range=[PALETTE[1], PALETTE[2], PALETTE[0]])
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=2, symbolOpacity=1)
    colour = alt.Color("series:N", title=None, scale=scale, legend=legend)
    y = alt.Y("mean:Q", title="accuracy, %", scale=alt.Scale(domain=[0, 1]), axis=PERCENT)
    base = alt.Chart()
    linear = base.transform_filter(f"datum.series == '{names[2]}'")
    vib = base.transform_filter(f"datum.series != '{names[2]}'")
    shown = ["series:N", "beta:Q", alt.Tooltip("mean:Q", format=".1%")]
    layers = alt.layer(
        linear.mark_rect(opacity=0.15).encode(alt.Y("low:Q"), alt.Y2("high:Q"), color=colour),
        linear.mark_rule(strokeDash=[6, 3], strokeWidth=1.5).encode(y, color=colour),
        vib.mark_rule(strokeWidth=1.5).encode(
            log_beta("beta, no unit"), alt.Y("low:Q"), alt.Y2("high:Q"), color=colour
        ),
        vib.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=45)).encode(
            log_beta("beta, no unit"), y, color=colour, tooltip=shown
        ),
        data=alt.Data(values=list(rows)),
    )
    return layers.properties(width=_WIDTH, height=_HEIGHT).facet(
        column=alt.Column("panel:N", title=None, sort=list(_PANELS.values()))
    )


def sample_section() -> Section:
    """1,000 samples of the first toy task, coloured by their label."""
    data = Toy1().sample(_DRAWN, seed=0)
    rows = [
        {"x1": x1, "x2": x2, "label": "+1" if label else "-1"}
        for (x1, x2), label in zip(data.x.tolist(), data.y.tolist(), strict=True)
    ]
    text = (
        f"{_DRAWN:,} samples. x1 has the sign of the label always, x2 in nine of ten samples; a "
        "shift of x2 by 1 reverses that sign."
    )
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_circle(size=22, opacity=0.7)
        .encode(
            alt.X("x1:Q", title="x1, the robust feature (no unit)"),
            alt.Y("x2:Q", title="x2, the fragile feature (no unit)"),
            alt.Color(
                "label:N",
                title="Label",
                scale=alt.Scale(domain=["-1", "+1"], range=[PALETTE[2], PALETTE[1]]),
            ),
        )
        .properties(width=430, height=_HEIGHT)
    )
    return Section("Samples of the first toy task", [text], chart)
