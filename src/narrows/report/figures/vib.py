"""Figures 1 and 2 of the variational information bottleneck: error, information, embeddings.

Source: Alemi et al. (2017), arXiv 1612.00410. I(X;Z) is the variational upper bound, the mean
KL(p(z|x) || N(0, I)), I(Z;Y) the lower bound H(Y) - cross-entropy, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import torch

from narrows.errors import StoreError
from narrows.papers.vib import Embedding, ShotError
from narrows.report.figures.charts import PERCENT
from narrows.report.images import data_uri
from narrows.report.page import Section
from narrows.report.plots import PALETTE, log_beta
from narrows.runs import Member, Run

__all__ = ["embedding_sections", "error_sections"]

_SPLITS = {"train": "training data", "test": "test data"}
_SPLIT = alt.Color(
    "split:N",
    title="Data",
    scale=alt.Scale(domain=list(_SPLITS.values()), range=PALETTE[1:3]),
    legend=alt.Legend(symbolOpacity=1),
)
_WIDTH, _HEIGHT = 300, 230
_ELLIPSE = math.sqrt(5.991)  # 95 % of a Gaussian in the plane lies within so many deviations
_DRAWN, _CORNERS = 500, 17
_PANEL = 270
Row = dict[str, Any]


def error_sections(run: Run, measured: Sequence[ShotError]) -> list[Section]:
    """Error against beta from one draw and from twelve, the IB curve, and the rate against beta."""
    points = _information(run)
    if not points:
        raise StoreError(f"no model of {run.path} has a variational rate; train vib")
    errors = [
        _series(row.member)
        | {"split": _SPLITS[row.split], "from": _shots(row.shots), "error": row.error}
        for row in measured
    ]
    text = "Error of a single draw of z, and of probabilities averaged over twelve draws. "
    text += "Dots are models, lines are means."
    reading = "I(X;Z) is the variational upper bound, I(Z;Y) the lower one. The dotted line is "
    reading += "log2 of the number of classes: with less, a code cannot tell all of them apart."
    sections = []
    for method in dict.fromkeys(row["method"] for row in points):
        of_method = [[row for row in rows if row["method"] == method] for rows in (errors, points)]
        information = _information_chart(of_method[1], run.classes)
        sections += [
            Section(f"Error of {method}", [text], _error_chart(of_method[0])),
            Section(f"Information of {method}", [reading], information),
        ]
    return sections


def _series(member: Member) -> Row:
    return {"method": member.method, "beta": member.beta, "seed": member.seed}


def _information(run: Run) -> list[Row]:
    rows = []
    for record in run.records():
        for split, name in _SPLITS.items():
            estimates = record.information.get(split, {})
            bits = {
                axis: estimates[f"variational_{axis}"].bits
                for axis in ("rate", "relevance")
                if f"variational_{axis}" in estimates
            }
            if len(bits) == 2 and None not in bits.values():
                rows.append(_series(record.member) | {"split": name} | bits)
    return rows


def _shots(count: int) -> str:
    return "1 draw" if count == 1 else f"{count} draws"


def _error_chart(rows: Sequence[Row]) -> Any:
    y = alt.Y("error:Q", title="error", axis=PERCENT, scale=alt.Scale(type="sqrt"))
    dash = alt.StrokeDash(
        "from:N",
        title="Predicted from",
        scale=alt.Scale(domain=[_shots(1), _shots(12)], range=[[5, 4], [1, 0]]),
        legend=alt.Legend(symbolType="stroke", symbolStrokeColor="#333333", symbolSize=400),
    )
    base = alt.Chart(alt.Data(values=list(rows)))
    dots = base.mark_circle(size=40, opacity=0.5).encode(
        log_beta(), y, _SPLIT, tooltip=["beta:Q", "seed:O", "from:N", "error:Q"]
    )
    line = base.mark_line(strokeWidth=2).encode(
        log_beta(), alt.Y("mean(error):Q", title="error"), _SPLIT, dash
    )
    return (dots + line).properties(width=2 * _WIDTH, height=_HEIGHT)


def _information_chart(rows: Sequence[Row], classes: int) -> Any:
    base = alt.Chart(alt.Data(values=list(rows)))
    x = alt.X(
        "rate:Q",
        title="I(X;Z), bits",
        scale=alt.Scale(type="symlog"),
        axis=alt.Axis(values=[0, 1, 3, 10, 30, 100, 300, 1000]),
    )
    y = alt.Y("relevance:Q", title="I(Z;Y), bits")
    shown = ["beta:Q", "seed:O", "split:N", *(f"{axis}:Q" for axis in ("rate", "relevance"))]
    curve = base.mark_line(point=True, strokeWidth=1.5).encode(
        x, y, _SPLIT, detail="seed:N", order="beta:Q", tooltip=shown
    )
    rate = base.mark_line(point=True, strokeWidth=1.5).encode(
        log_beta(),
        alt.Y("rate:Q", title="I(X;Z), bits", scale=alt.Scale(type="log", clamp=True)),
        _SPLIT,
        detail="seed:N",
        tooltip=shown,
    )
    needed = alt.Chart(alt.Data(values=[{"rate": math.log2(classes)}]))
    needed = needed.mark_rule(strokeDash=[2, 3], strokeWidth=1.5).encode(y="rate:Q")
    size = {"width": _WIDTH, "height": _HEIGHT}
    # Collapsed codes have a rate of 0, which a logarithm cannot show.
    seen = rate.transform_filter("datum.rate > 1e-3")
    return alt.hconcat(curve.properties(**size), (seen + needed).properties(**size))


def embedding_sections(
    run: Run, measured: Sequence[Embedding], errors: Sequence[ShotError]
) -> list[Section]:
    """95 % ellipses of p(z|x) over the decoder's entropy; a panel for each beta, first seed.

    Args:
        run: that was measured.
        measured: posteriors of its models.
        errors: of the same models.
    """
    first = min(row.member.seed for row in measured)
    shots = {(row.member, row.shots): row.error for row in errors if row.split == "test"}
    panels = [
        _ellipses(row, [shots[row.member, count] for count in (1, 12)], run.classes)
        for row in sorted(measured, key=lambda row: row.member)
        if row.member.seed == first
    ]
    text = (
        f"Ellipses hold 95 % of p(z|x) of the first {_DRAWN} test images, coloured by class. Grey "
        "is the entropy of q(y|z): the darker, the less certain the decoder is there. Errors are "
        "those of one draw of z and of the average of twelve, on all test images."
    )
    return [Section("Posteriors", [text], alt.concat(*panels, columns=3))]


def _ellipses(row: Embedding, errors: Sequence[float], classes: int) -> Any:
    low = [centre - row.half for centre in row.centre]
    high = [centre + row.half for centre in row.centre]
    x, y = (
        alt.X("x:Q", title=None, scale=alt.Scale(domain=[low[0], high[0]], nice=False)),
        alt.Y("y:Q", title=None, scale=alt.Scale(domain=[low[1], high[1]], nice=False)),
    )
    single, average = errors
    member = row.member
    title = f"{member.method}, beta = {member.beta:g}: {single:.1%}, of 12 draws {average:.1%}"
    back = alt.Chart(alt.Data(values=[{"url": _background(row, classes)}])).mark_image(
        width=_PANEL, height=_PANEL, aspect=False
    )
    back = back.encode(x=alt.value(_PANEL / 2), y=alt.value(_PANEL / 2), url="url:N")
    numbers = dict.fromkeys(["corner", "x", "y"], "number")
    given = alt.Data(values=_corners(row), format=alt.DataFormat(type="csv", parse=numbers))
    lines = alt.Chart(given)
    lines = lines.mark_line(strokeWidth=0.7, opacity=0.6, clip=True).encode(
        x,
        y,
        alt.Color("label:N", title="Class", scale=alt.Scale(scheme="tableau10")),
        detail="image:N",
        order="corner:Q",
    )
    return alt.layer(back, lines).properties(width=_PANEL, height=_PANEL, title=title)


def _background(row: Embedding, classes: int) -> str:
    """Entropy as a picture, white for none; the second coordinate of z points up."""
    entropy = torch.tensor(row.entropy)
    side = math.isqrt(len(entropy))
    shade = 1 - 0.6 * entropy.reshape(side, side).T.flip(0) / math.log2(classes)
    return data_uri(shade.clamp(0, 1)[None])


def _corners(row: Embedding) -> str:
    """The ellipses as CSV: Altair copies and checks rows one by one, and here are thousands."""
    angles = torch.linspace(0, 2 * math.pi, _CORNERS)
    circle = _ELLIPSE * torch.stack([angles.cos(), angles.sin()])
    factor = torch.tensor(row.factor[:_DRAWN]).reshape(-1, 2, 2)
    mean = torch.tensor(row.mean[:_DRAWN])
    ellipses = (mean[:, :, None] + factor @ circle).transpose(1, 2).tolist()
    lines = [
        f"{image},{corner},{x:.3f},{y:.3f},{label}"
        for image, (corners, label) in enumerate(zip(ellipses, row.label[:_DRAWN], strict=True))
        for corner, (x, y) in enumerate(corners)
    ]
    return "\n".join(["image,corner,x,y,label", *lines])
