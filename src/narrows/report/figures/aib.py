"""Figures 3 to 6 of the adversarial information bottleneck: curves, codes, knee and robustness.

Source: Zhai & Zhang (2021), arXiv 2103.00381. Deviations: PGD stands beside FGS, since one step
says little of robustness; and where the models of a run were audited into its folder (`narrows
audit RUN ... --out RUN/audits/NAME`), so does what the audit left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import torch

from narrows.errors import StoreError
from narrows.experiments.auditing import AuditRecord
from narrows.information import Region
from narrows.papers.aib import ExactPoint
from narrows.report import rows as run_rows
from narrows.report.figures.charts import against_beta
from narrows.report.page import Section
from narrows.report.plots import PALETTE, ib_curves
from narrows.report.spreads import centre, spread_text
from narrows.report.tables import ResultTable
from narrows.runs import Run

__all__ = [
    "beta_sections",
    "curve_sections",
    "exact_chart",
    "exact_sections",
    "projection_sections",
]

_NAMES = {"fgsm": "FGS", "pgd": "PGD"}
_AXES = ("rate", "relevance")
Row = dict[str, Any]


def curve_sections(run: Run) -> list[Section]:
    """The IB curve of every method, by pairwise distances."""
    text = (
        "Both axes are estimated from pairwise distances, on training data and on test data. The "
        "noise is that of the code; to a code without noise, noise of standard deviation "
        f"{run.config.evaluate.noise_std:g} is added. Diamonds are knees."
    )
    models, knees = run_rows.model_rows(run), run_rows.knee_rows(run)
    return [Section("IB curves", [text], ib_curves(models, knees, run_rows.label_bits(run)))]


def exact_sections(points: Sequence[ExactPoint], region: Region) -> list[Section]:
    """The IB curve of every method under the exact bound, on the twelve-bit data."""
    text = (
        "Both axes are computed over all 4,096 patterns from the known densities of the codes, "
        "without bias and with a standard error below "
        f"{max(point.error for point in points):.0e} bits. The dashed line is the exact solution "
        f"for I(X;Y) = {region.information / math.log(2):.2f} bits; no code can reach the shaded "
        "region. Crosses are one standard deviation over seeds."
    )
    table = _distance_table(points, region)
    return [
        Section("IB curves under the exact bound", [text], exact_chart(points, region)),
        Section("Distance to the bound", table=table),
    ]


def exact_chart(points: Sequence[ExactPoint], region: Region) -> Any:
    """Means over seeds of every method and beta, below the exact curve.

    Args:
        points: in bits.
        region: of the same joint distribution, in nats.
    """
    top = 1.06 * region.information / math.log(2)
    longest = 1.02 * max(point.rate for point in points)
    rates = torch.linspace(0, longest, 400, dtype=torch.float64)
    bound = region.bound(rates * math.log(2)) / math.log(2)
    limit = [
        {"rate": rate, "relevance": relevance, "top": top}
        for rate, relevance in zip(rates.tolist(), bound.tolist(), strict=True)
    ]
    means = [
        {"method": method, "beta": beta}
        | centre([(point.rate, point.relevance) for point in group])
        for (method, beta), group in _groups(points).items()
    ]
    methods = list(dict.fromkeys(point.member.method for point in points))
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


def _groups(points: Sequence[ExactPoint]) -> dict[tuple[str, float], list[ExactPoint]]:
    groups: dict[tuple[str, float], list[ExactPoint]] = {}
    for point in points:
        groups.setdefault((point.member.method, point.member.beta), []).append(point)
    return groups


def _distance_table(points: Sequence[ExactPoint], region: Region) -> ResultTable:
    """How far each model stays below what its own rate allows."""
    body = []
    for (method, beta), group in _groups(points).items():
        rates = torch.tensor([point.rate for point in group], dtype=torch.float64)
        allowed = (region.bound(rates * math.log(2)) / math.log(2)).tolist()
        below = [limit - point.relevance for limit, point in zip(allowed, group, strict=True)]
        cells = [spread_text([getattr(point, axis) for point in group]) for axis in _AXES]
        body.append([method, f"{beta:g}", *cells, spread_text(below), str(len(group))])
    columns = ["method", "beta", "I(X;Z) bits", "I(Z;Y) bits", "below the bound, bits", "seeds"]
    return ResultTable(columns, body)


def projection_sections(run: Run) -> list[Section]:
    """Principal components of the codes at the weakest beta, the knee and the strongest."""
    points = run_rows.projection_rows(run)
    if not points:
        raise StoreError(f"no model of {run.path} has a latent to project")
    panels = [_panels(run, method, points) for method in run_rows.trained_methods(run)]
    text = (
        "First two principal components of the codes of test images, first seed. The knee is that "
        "of the curve on training data, or the beta chosen on validation data where there is none."
    )
    return [Section("Codes", [text], alt.vconcat(*(alt.hconcat(*row) for row in panels if row)))]


def _panels(run: Run, method: str, points: Sequence[Row]) -> list[alt.Chart]:
    """A method's codes at its weakest beta, its knee and its strongest, where there are so many."""
    of_method = [row for row in points if row["method"] == method]
    betas = sorted({row["beta"] for row in of_method})
    (*_, chosen) = run_rows.choices(run, method).values()
    wanted = dict.fromkeys([*betas[:1], chosen, *betas[-1:]])
    return [
        _codes([row for row in of_method if row["beta"] == beta], f"{method}, beta = {beta:g}")
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


def beta_sections(run: Run, audits: Sequence[AuditRecord]) -> list[Section]:
    """Information, robustness and clean accuracy against beta, a column for each method."""
    swept = [method for method, summary in run.summary.items() if len(summary.rows) > 1]
    if not swept:
        raise StoreError(f"no method of {run.path} was trained at more than one beta")
    column = alt.Column("method:N", title=None, sort=swept)
    knees = [knee for knee in run_rows.knee_rows(run) if knee["split"] == "training data"]
    models = [
        row
        for row in run_rows.model_rows(run)
        if row["method"] in swept and row["split"] == "training data"
    ]
    plain = alt.value(PALETTE[1])
    text = "Dots are models, lines go through the means. The knee of the IB curve is dashed."
    sections = []
    for axis, name in (("relevance", "I(Z;Y)"), ("rate", "I(X;Z)")):
        rows = [{**row, "value": row[axis]} for row in models]
        chart = against_beta(rows, f"{name}, bits", plain, column, knees=knees)
        sections.append(Section(f"{name} on training data", [text], chart))
    if run_rows.attacked(run):
        attacked = [*_attacked(run, swept), *_audited(run, audits, swept)]
        names = list(dict.fromkeys(row["attack"] for row in attacked))
        colours = {"clean": PALETTE[3], "FGS": PALETTE[5], "PGD": PALETTE[4], "audit": PALETTE[0]}
        scale = alt.Scale(domain=names, range=[colours[name] for name in names])
        for eps in run.config.evaluate.eps:
            rows = [row for row in attacked if row["eps"] in (None, eps)]
            colour = alt.Color("attack:N", title="Images", scale=scale)
            chart = against_beta(rows, "accuracy", colour, column, percent=True, knees=knees)
            sections.append(Section(f"Accuracy at eps = {eps:g}", chart=chart))
    return sections


def _attacked(run: Run, methods: Sequence[str]) -> list[Row]:
    rows = []
    for record in run.records(methods):
        series = {"method": record.method, "beta": record.beta, "seed": record.seed}
        clean = {"attack": "clean", "eps": None, "value": record.accuracy.test}
        rows.append(series | clean)
        rows += [
            {**series, "attack": _NAMES[attack.attack], "eps": attack.eps, "value": attack.accuracy}
            for attack in record.attacks or []
            if attack.eps is not None
        ]
    return rows


def _audited(run: Run, audits: Sequence[AuditRecord], methods: Sequence[str]) -> list[Row]:
    """What audits left of the run's models."""
    rows = []
    for record in audits:
        request, member = record.request, record.request.member
        if member is None or request.norm != "linf" or request.run != run.config.identity():
            continue
        series = {"method": member.method, "beta": member.beta, "seed": member.seed}
        left = record.verdict.reached
        rows.append(series | {"attack": "audit", "eps": request.eps, "value": left})
    return [row for row in rows if row["method"] in methods]
