"""Information planes: the layers of a run's models, or of models while they were trained, in bits.

Colours are Okabe & Ito's, one for each layer; crosses are one standard deviation over seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

from narrows.errors import InputError
from narrows.experiments.planes import PlaneRow
from narrows.report.page import Section, write_page
from narrows.report.plots import PALETTE
from narrows.report.spreads import centre, spread_text
from narrows.report.tables import ResultTable

__all__ = ["plane_chart", "plane_table", "write_plane"]

_WIDTH, _HEIGHT = 380, 280
Row = dict[str, Any]


def plane_table(rows: Sequence[PlaneRow]) -> ResultTable:
    """Mean and spread over seeds of every layer; of the last epoch, where there are several."""
    columns = ["model", "beta", "layer", "I(X;T) bits", "I(T;Y) bits", "seeds", "remark"]
    last = max((row.epoch for row in rows if row.epoch is not None), default=None)
    table = []
    for (model, beta, epoch, layer), group in _groups(rows).items():
        if epoch != last:
            continue
        full = sum(row.saturated for row in group)
        remark = f"{full} within 5 % of log n" if full else ""
        shown = "-" if beta is None else f"{beta:g}"
        pair = [
            spread_text([getattr(row, axis) for row in group]) for axis in ("rate", "relevance")
        ]
        table.append([model, shown, layer, *pair, str(len(group)), remark])
    return ResultTable(columns, table)


def plane_chart(rows: Sequence[PlaneRow]) -> alt.FacetChart:
    """A panel for each model; a line through its layers at each beta, or along its training."""
    recorded = rows[0].epoch is not None
    means = [{"rank": i} | _mean(*item) for i, item in enumerate(_groups(rows).items())]
    if recorded:
        epochs = sorted({mean["epoch"] for mean in means})
        means = [mean | {"rank": epochs.index(mean["epoch"])} for mean in means]
    layers = list(dict.fromkeys(row.layer for row in rows))
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(layers))]
    base = alt.Chart()
    place = {
        "x": alt.X("rate:Q", title="I(X;T), bits"),
        "y": alt.Y("relevance:Q", title="I(T;Y), bits", scale=alt.Scale(domainMin=0)),
    }
    colour = alt.Color("layer:N", title="Layer", scale=alt.Scale(domain=layers, range=colours))
    path = {"order": "rank:Q", "detail": "layer:N" if recorded else "beta:N"}
    grey = alt.value("#888888")
    line = base.mark_line(strokeWidth=1.5, opacity=0.7)
    line = line.encode(**place, **path, color=colour if recorded else grey)
    across = base.mark_rule().encode(alt.Y("relevance:Q"), alt.X2("rate_high:Q"), color=colour)
    across = across.encode(alt.X("rate_low:Q"))
    along = base.mark_rule().encode(alt.X("rate:Q"), alt.Y("low:Q"), alt.Y2("high:Q"), color=colour)
    tooltip = ["layer:N", "epoch:Q" if recorded else "beta:Q"]
    tooltip += [alt.Tooltip(f"{axis}:Q", format=".3f") for axis in ("rate", "relevance")]
    # What came later in training lies above and is larger.
    sizes = alt.Scale(range=[12, 90])
    size = alt.Size("rank:Q", legend=None, scale=sizes) if recorded else alt.value(60)
    point = base.mark_circle(opacity=1).encode(**place, color=colour, size=size, tooltip=tooltip)
    parts = [*_limits(base), line, across, along, point]
    if not recorded:
        # Upright, so that neighbours in a crowd stay legible.
        mark = base.mark_text(angle=270, align="right", dx=-8, color="#555555", fontSize=11)
        # Where a layer passes least, the lines of different betas are farthest apart.
        least = mark.transform_joinaggregate(least="min(rate)", groupby=["model", "beta"])
        least = least.transform_filter("datum.rate === datum.least && datum.beta > 0")
        parts.append(least.encode(**place, text=alt.Text("beta:Q", format=".2~g")))
    layered = alt.layer(*parts, data=alt.Data(values=means))
    panels = alt.Facet("model:N", title=None, sort=list(dict.fromkeys(row.model for row in rows)))
    return layered.properties(width=_WIDTH, height=_HEIGHT).facet(panels, columns=2)


def _limits(base: alt.Chart) -> list[alt.Chart]:
    """H(Y) and log n, dashed and named; once for each panel, however many points it has."""
    dashed: Row = {"color": "#888888", "strokeDash": [6, 3]}
    name: Row = {"color": "#666666", "fontSize": 11}
    of_y, of_x = alt.Y("max(entropy):Q"), alt.X("max(ceiling):Q")
    return [
        base.mark_rule(**dashed).encode(of_y),
        base.mark_rule(**dashed).encode(of_x),
        base.mark_text(**name, text="H(Y)", align="left", dx=4, dy=-7).encode(of_y, x=alt.value(0)),
        base.mark_text(**name, text="log n", align="right", dx=-4).encode(
            of_x, y=alt.value(_HEIGHT - 8)
        ),
    ]


def write_plane(rows: Sequence[PlaneRow], path: Path) -> Path:
    """Write the chart and the table as one page, and return its path.

    Raises:
        InputError: if there is nothing to draw.
        StoreError: if it cannot be written.
    """
    if not rows:
        raise InputError("there are no points to draw")
    lead = (
        f"Measured: {_measured(rows)}. Nothing exceeds H(Y) = {rows[0].entropy:.2f} bits or "
        f"log n = {rows[0].ceiling:.2f} bits. Crosses are one standard deviation over seeds."
    )
    epochs = [row.epoch for row in rows if row.epoch is not None]
    reading = (
        f"Each line is a layer during training, from epoch {min(epochs)} (small points) to "
        f"{max(epochs)} (large points)."
        if epochs
        else "A line joins the layers of one network, from input to output; beta stands where its "
        "I(X;T) is least."
    )
    sections = [
        Section("Layers", [reading], chart=plane_chart(rows)),
        Section("Table", table=plane_table(rows)),
    ]
    return write_page(path, "Information plane", lead, sections)


def _measured(rows: Sequence[PlaneRow]) -> str:
    """What was measured, and of which layers where not all are measured alike."""
    layers: dict[str, dict[str, None]] = {}
    for row in rows:
        layers.setdefault(row.measures, {})[f"{row.layer} of {row.model}"] = None
    first, *others = layers
    return "; ".join([first, *(f"of {', '.join(layers[how])}: {how}" for how in others)])


Key = tuple[str, float | None, int | None, str]


def _groups(rows: Sequence[PlaneRow]) -> dict[Key, list[PlaneRow]]:
    groups: dict[Key, list[PlaneRow]] = defaultdict(list)
    for row in rows:
        groups[row.model, row.beta, row.epoch, row.layer].append(row)
    return groups


def _mean(key: Key, group: Sequence[PlaneRow]) -> Row:
    names = dict(zip(("model", "beta", "epoch", "layer"), key, strict=True))
    limits = {"entropy": group[0].entropy, "ceiling": group[0].ceiling}
    return names | limits | centre([(row.rate, row.relevance) for row in group])
