"""Information planes: the layers of a run's models, or of models while they were trained, in bits.

Colours are Okabe & Ito's, one a layer; crosses are one standard deviation over seeds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import altair as alt

from narrows.data import load
from narrows.errors import InputError
from narrows.experiments.config import load_config
from narrows.experiments.members import list_members, load_member
from narrows.experiments.store import read_json
from narrows.information import PlaneRecorder, load_plane
from narrows.report.page import Section, write_page
from narrows.report.plots import PALETTE
from narrows.report.tables import ResultTable

__all__ = [
    "centre",
    "measure_run",
    "plane_chart",
    "plane_table",
    "read_planes",
    "spread",
    "write_plane",
]

_WIDTH, _HEIGHT = 380, 280
Row = dict[str, Any]


def measure_run(
    folder: Path,
    methods: Sequence[str] | None,
    betas: Sequence[float] | None,
    layers: Sequence[str] | None,
    measure: str,
    samples: int,
    options: dict[str, Any],
) -> list[Row]:
    """One row a trained model and layer of a run, on training data, in bits.

    Raises:
        NarrowsError: for a folder that is no finished run, or what `PlaneRecorder` refuses.
    """
    config = load_config(values=read_json(folder / "config.json"))
    data = load(config.data, validation_share=config.validation_share).train.all()
    rows = []
    for method, beta, seed in list_members(folder, methods, betas):
        model = load_member(folder, method, beta, seed)
        recorder = PlaneRecorder(model, layers, data, measure, samples, **options)
        recorder(epoch=0)
        about = {"model": method, "beta": beta, "seed": seed}
        rows += [about | row | {"epoch": None} for row in _rows(recorder.record())]
    return rows


def read_planes(files: Sequence[Path]) -> list[Row]:
    """One row a recorded layer, epoch and file; each file is a seed.

    Raises:
        InputError: for a file that holds no plane, or planes of different measures.
    """
    records = [load_plane(file) for file in files]
    measures = [(r["measure"], r["options"], r["n"]) for r in records]
    if any(one != measures[0] for one in measures):
        raise InputError(
            "the files were not measured alike and cannot be compared: "
            + "; ".join(f"{measure} {options} of {n}" for measure, options, n in measures)
        )
    return [
        {"model": "recorded", "beta": None, "seed": seed} | row
        for seed, record in enumerate(records)
        for row in _rows(record)
    ]


def plane_table(rows: Sequence[Row]) -> ResultTable:
    """Mean and spread over seeds of every layer; of the last epoch, where there are several."""
    columns = ["model", "beta", "layer", "I(X;T) bits", "I(T;Y) bits", "seeds", "remark"]
    last = max((row["epoch"] for row in rows if row["epoch"] is not None), default=None)
    table = []
    for (model, beta, _, layer), group in _groups(rows).items():
        if group[0]["epoch"] != last:
            continue
        full = sum(row["saturated"] for row in group)
        remark = f"{full} within 5 % of log n" if full else ""
        shown = "-" if beta is None else f"{beta:g}"
        pair = [spread([row[axis] for row in group]) for axis in ("rate", "relevance")]
        table.append([model, shown, layer, *pair, str(len(group)), remark])
    return ResultTable(columns, table)


def plane_chart(rows: Sequence[Row]) -> alt.FacetChart:
    """The plane: a panel a model; a line through its layers at each beta, or along its training.

    Args:
        rows: with `model`, `beta`, `seed`, `epoch`, `layer`, `rate`, `relevance`, `entropy` and
            `ceiling` (bits).
    """
    recorded = rows[0]["epoch"] is not None
    means = [{"rank": i} | _mean(*item) for i, item in enumerate(_groups(rows).items())]
    if recorded:
        epochs = sorted({mean["epoch"] for mean in means})
        means = [mean | {"rank": epochs.index(mean["epoch"])} for mean in means]
    layers = list(dict.fromkeys(row["layer"] for row in rows))
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
    panels = alt.Facet("model:N", title=None, sort=list(dict.fromkeys(r["model"] for r in rows)))
    return layered.properties(width=_WIDTH, height=_HEIGHT).facet(panels, columns=2)


def _limits(base: alt.Chart) -> list[alt.Chart]:
    """H(Y) and log n, dashed and named; once a panel, however many points it has."""
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


def write_plane(rows: Sequence[Row], path: Path) -> Path:
    """Write the chart and the table as one page, and return its path.

    Raises:
        InputError: if there is nothing to draw.
        StoreError: if it cannot be written.
    """
    if not rows:
        raise InputError("there are no points to draw")
    lead = (
        f"Measured: {_measured(rows)}. Nothing exceeds H(Y) = {rows[0]['entropy']:.2f} bits or "
        f"log n = {rows[0]['ceiling']:.2f} bits. Crosses are one standard deviation over seeds."
    )
    epochs = [row["epoch"] for row in rows if row["epoch"] is not None]
    reading = (
        f"A line is a layer's way through training, from epoch {min(epochs)} (small points) to "
        f"{max(epochs)} (large)."
        if epochs
        else "A line joins the layers of one network, from input to output; where its "
        "I(X;T) is least stands beta."
    )
    sections = [
        Section("Layers", [reading], chart=plane_chart(rows)),
        Section("Table", table=plane_table(rows)),
    ]
    return write_page(path, "Information plane", lead, sections)


def _rows(record: Row) -> list[Row]:
    """The points of a record, in bits."""
    return [
        {
            "epoch": point["epoch"],
            "layer": point["layer"],
            "rate": _bits(point["rate"]["nats"]),
            "relevance": _bits(point["relevance"]["nats"]),
            "entropy": _bits(point["relevance"]["ceiling"]),
            "ceiling": _bits(point["rate"]["ceiling"]),
            "saturated": bool(point["rate"]["diagnostics"].get("saturated")),
            "measures": point["rate"]["diagnostics"]["measures"],
        }
        for point in record["points"]
    ]


def _measured(rows: Sequence[Row]) -> str:
    """What was measured, and of which layers where not all are measured alike."""
    layers: dict[str, dict[str, None]] = {}
    for row in rows:
        layers.setdefault(row["measures"], {})[f"{row['layer']} of {row['model']}"] = None
    first, *others = layers
    return "; ".join([first, *(f"of {', '.join(layers[one])}: {one}" for one in others)])


def _groups(rows: Sequence[Row]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["model"], row["beta"], row["epoch"], row["layer"]].append(row)
    return groups


def _mean(key: tuple[Any, ...], group: Sequence[Row]) -> Row:
    found: Row = dict(zip(("model", "beta", "epoch", "layer"), key, strict=True))
    return found | {axis: group[0][axis] for axis in ("entropy", "ceiling")} | centre(group)


def centre(group: Sequence[Row]) -> Row:
    """The mean `rate` and `relevance` of rows, with one standard deviation to either side."""
    found: Row = {}
    for axis, (low, high) in (("rate", ("rate_low", "rate_high")), ("relevance", ("low", "high"))):
        values = [row[axis] for row in group]
        mean, std = fmean(values), stdev(values) if len(values) > 1 else 0.0
        found |= {axis: mean, low: mean - std, high: mean + std}
    return found


def _bits(nats: float) -> float:
    return nats / math.log(2)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation, as text."""
    std = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{std}"
