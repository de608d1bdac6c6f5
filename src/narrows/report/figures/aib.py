"""Figures 3 to 6 of the adversarial information bottleneck: curves, codes, knee and robustness.

Source: Zhai & Zhang (2021), arXiv 2103.00381. Deviations: PGD stands beside FGS, since one step
says little of robustness; and where the models of a run were audited into its folder (`narrows
audit RUN ... --out RUN/audits/NAME`), so does what the audit left.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import torch

from narrows.data.twelve_bit import joint
from narrows.errors import StoreError
from narrows.experiments.figures import exact_curve
from narrows.experiments.progress import Progress
from narrows.experiments.store import read_json
from narrows.information import Region, achievable_region
from narrows.report.figures._charts import against_beta
from narrows.report.html import label_bits
from narrows.report.page import Section
from narrows.report.planes import centre, spread
from narrows.report.plots import PALETTE, ib_curves
from narrows.report.rows import Run, load_run
from narrows.report.tables import ResultTable

__all__ = ["beta_sections", "curve_sections", "exact_chart", "projection_sections"]

_SHOWN = {"fgsm": "FGS", "pgd": "PGD"}
_NAMED = re.compile(r"(?P<method>\w+), beta = (?P<beta>\S+), seed (?P<seed>\d+), of (?P<run>.+)")
_AXES = ("rate", "relevance")
Row = dict[str, Any]


def curve_sections(folder: Path, progress: Progress) -> list[Section]:
    """The IB curve of every method; under the exact bound, where the data are the twelve bits."""
    run = load_run(folder)
    if run.config["data"] != "twelve-bit":
        text = "Both axes by pairwise distances on training data and on test data, with what noise "
        text += "the code has, or one of standard deviation "
        text += f"{run.config['evaluate']['noise_std']:g}. Diamonds are knees."
        chart = ib_curves(run.members(), run.knees(), label_bits(run))
        return [Section("IB curves", [text], chart)]
    rows = exact_curve(folder, progress)
    region = achievable_region(joint())
    text = (
        "Both axes over all 4,096 patterns, from the known densities of the codes: no estimator's "
        f"bias, and a standard error below {max(row['error'] for row in rows):.0e} bits. The "
        "dashed line is the solved bottleneck of "
        f"I(X;Y) = {region.information / math.log(2):.2f} bits; what is shaded cannot be reached. "
        "Crosses are one standard deviation over seeds."
    )
    table = _distance_table(rows, region)
    return [
        Section("IB curves under the exact bound", [text], exact_chart(rows, region)),
        Section("Distance to the bound", table=table),
    ]


def exact_chart(rows: Sequence[Row], region: Region) -> Any:
    """Means over seeds of every method and beta, below the exact curve.

    Args:
        rows: with `method`, `beta`, `seed`, `rate`, `relevance` in bits.
        region: of the same joint distribution, in nats.
    """
    top = 1.06 * region.information / math.log(2)
    longest = 1.02 * max(row["rate"] for row in rows)
    rates = torch.linspace(0, longest, 400, dtype=torch.float64)
    bound = region.bound(rates * math.log(2)) / math.log(2)
    limit = [
        {"rate": rate, "relevance": relevance, "top": top}
        for rate, relevance in zip(rates.tolist(), bound.tolist(), strict=True)
    ]
    means = [
        {"method": method, "beta": beta} | centre(group)
        for (method, beta), group in _groups(rows).items()
    ]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    scale = alt.Scale(domain=methods, range=PALETTE[: len(methods)])
    colour = alt.Color("method:N", title="Method", scale=scale, legend=alt.Legend(symbolOpacity=1))
    x = alt.X(
        "rate:Q",
        title="I(X;Z), bits",
        scale=alt.Scale(domain=[0, longest], nice=False),
        axis=alt.Axis(tickCount=8),
    )
    y = alt.Y("relevance:Q", title="I(Z;Y), bits", scale=alt.Scale(domain=[0, top], nice=False))
    edge = alt.Chart(alt.Data(values=limit)).encode(x)
    mean = alt.Chart(alt.Data(values=means))
    across = mean.mark_rule(opacity=0.5).encode(x.copy(), y, alt.X2("rate_high:Q"), colour)
    across = across.encode(alt.X("rate_low:Q", title="I(X;Z), bits"))
    along = mean.mark_rule(opacity=0.5).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), colour)
    line = mean.mark_line(strokeWidth=1.5, point=alt.OverlayMarkDef(size=50, opacity=1))
    shown = ["method:N", "beta:Q", *(alt.Tooltip(f"{a}:Q", format=".3f") for a in _AXES)]
    return alt.layer(
        edge.mark_area(color="#56B4E9", opacity=0.15).encode(y=y, y2="top:Q"),
        edge.mark_line(color="#D55E00", strokeDash=[6, 3], strokeWidth=2).encode(y=y),
        across,
        along,
        line.encode(x, y, colour, order="beta:Q", tooltip=shown),
    ).properties(width=620, height=360)


def _groups(rows: Sequence[Row]) -> dict[tuple[str, float], list[Row]]:
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["beta"]), []).append(row)
    return groups


def _distance_table(rows: Sequence[Row], region: Region) -> ResultTable:
    """How far each model stays below what its own rate allows, and the best of each method."""
    body = []
    for (method, beta), group in _groups(rows).items():
        rates = torch.tensor([row["rate"] for row in group], dtype=torch.float64)
        allowed = region.bound(rates * math.log(2)) / math.log(2)
        below = [one - row["relevance"] for one, row in zip(allowed.tolist(), group, strict=True)]
        cells = [spread([row[axis] for row in group]) for axis in _AXES]
        body.append([method, f"{beta:g}", *cells, spread(below), str(len(group))])
    columns = ["method", "beta", "I(X;Z) bits", "I(Z;Y) bits", "below the bound, bits", "seeds"]
    return ResultTable(columns, body)


def projection_sections(folder: Path, progress: Progress) -> list[Section]:
    """Principal components of the codes at the weakest beta, the knee and the strongest."""
    run = load_run(folder)
    points = run.projection()
    rows = [_panels(run, method, points) for method in run.summary]
    if not points:
        raise StoreError(f"no model of {folder} has a latent to project")
    text = (
        "First two principal components of the codes of test images, first seed. The knee is that "
        "of the curve on training data, or the beta chosen on validation data where there is none."
    )
    return [Section("Codes", [text], alt.vconcat(*(alt.hconcat(*row) for row in rows if row)))]


def _panels(run: Run, method: str, points: Sequence[Row]) -> list[alt.Chart]:
    """A method's codes at its weakest beta, its knee and its strongest, where there are so many."""
    own = [row for row in points if row["method"] == method]
    betas = sorted({row["beta"] for row in own})
    (*_, chosen) = run.choices(method).values()
    wanted = dict.fromkeys([*betas[:1], chosen, *betas[-1:]])
    return [
        _codes([row for row in own if row["beta"] == beta], f"{method}, beta = {beta:g}")
        for beta in wanted
        if beta in betas
    ]


def _codes(rows: Sequence[Row], title: str) -> alt.Chart:
    axis = alt.Axis(labels=False, ticks=False, grid=False, title=None)
    base = alt.Chart(alt.Data(values=list(rows)))
    return (
        base.mark_circle(size=16, opacity=0.75)
        .encode(
            alt.X("x:Q", axis=axis, scale=alt.Scale(zero=False)),
            alt.Y("y:Q", axis=axis, scale=alt.Scale(zero=False)),
            alt.Color("label:N", title="Class", scale=alt.Scale(scheme="tableau10")),
        )
        .properties(width=190, height=190, title=title)
    )


def beta_sections(folder: Path, progress: Progress) -> list[Section]:
    """Information, robustness and clean accuracy against beta, a column a method."""
    run = load_run(folder)
    swept = [method for method, found in run.summary.items() if len(found["rows"]) > 1]
    if not swept:
        raise StoreError(f"no method of {folder} was trained at more than one beta")
    column = alt.Column("method:N", title=None, sort=swept)
    knees = [knee for knee in run.knees() if knee["split"] == "training data"]
    members = [
        row for row in run.members() if row["method"] in swept and row["split"] == "training data"
    ]
    plain = alt.value(PALETTE[1])
    panels = [
        against_beta(
            [{**row, "value": row[axis]} for row in members], title, plain, column, knees=knees
        )
        for axis, title in (("relevance", "I(Z;Y), bits"), ("rate", "I(X;Z), bits"))
    ]
    text = "Dashed: the knee of the IB curve. A dot is a model, the line goes through the means."
    sections = [Section("Information on training data", [text], alt.vconcat(*panels))]
    if run.attacked:
        attacked = [*_attacked(run, swept), *_audited(folder, swept)]
        names = list(dict.fromkeys(row["attack"] for row in attacked))
        colours = {"clean": PALETTE[3], "FGS": PALETTE[5], "PGD": PALETTE[4], "audit": PALETTE[0]}
        scale = alt.Scale(domain=names, range=[colours[name] for name in names])
        for eps in run.config["evaluate"]["eps"]:
            rows = [row for row in attacked if row["eps"] in (None, eps)]
            colour = alt.Color("attack:N", title="Images", scale=scale)
            chart = against_beta(rows, "accuracy", colour, column, percent=True, knees=knees)
            sections.append(Section(f"Accuracy at eps = {eps:g}", chart=chart))
    return sections


def _attacked(run: Run, methods: Sequence[str]) -> list[Row]:
    rows = []
    for method in methods:
        for record in run.records[method]:
            about = {"method": method, "beta": record["beta"], "seed": record["seed"]}
            clean = {"attack": "clean", "eps": None, "value": record["accuracy"]["test"]}
            rows.append(about | clean)
            rows += [
                {**about, "attack": _SHOWN[one["attack"]], "eps": one["eps"]}
                | {"value": one["accuracy"]}
                for one in record["attacks"]
                if one["eps"] is not None
            ]
    return rows


def _audited(folder: Path, methods: Sequence[str]) -> list[Row]:
    """What the audits in the run's folder left of its models, by the names that they give them."""
    rows = []
    for path in sorted(folder.glob("audits/*/record.json")):
        record = read_json(path)
        asked = record["asked"]
        named = _NAMED.fullmatch(asked["name"])
        if named is None or named["run"] != folder.resolve().name or asked["norm"] != "linf":
            continue
        about = {
            "method": named["method"],
            "beta": float(named["beta"]),
            "seed": int(named["seed"]),
        }
        left = record["verdict"]["reached"]
        rows.append(about | {"attack": "audit", "eps": asked["eps"], "value": left})
    return [row for row in rows if row["method"] in methods]
