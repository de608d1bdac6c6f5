"""The page of a re-evaluation: accuracy under one step against beta, and against restarts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import altair as alt

from narrows.experiments.reevaluation import Reevaluated
from narrows.report.page import Section, write_page
from narrows.report.tables import ResultTable

__all__ = [
    "against_restarts",
    "one_step",
    "reevaluation_sections",
    "reevaluation_table",
    "write_reevaluation",
]

Rows = Sequence[dict[str, Any]]  # what a chart is made of

_MODES = {"deterministic": "#000000", "mean": "#0072B2", "sample": "#D55E00"}
_ACCURACY = alt.Y(
    "accuracy:Q",
    title="accuracy",
    scale=alt.Scale(domain=[0, 1]),
    axis=alt.Axis(format="%"),
)


def write_reevaluation(path: Path, result: Reevaluated) -> Path:
    """Write the page to `path`."""
    lead = (
        f"The first {result.images} test images of {result.data}, Linf. Each dot or line is a "
        "trained model."
    )
    title = f"{result.data}: one step, and many restarts"
    return write_page(path, title, lead, reevaluation_sections(result))


def reevaluation_sections(result: Reevaluated) -> list[Section]:
    """The charts with what they show, and the table."""
    rows = [
        {"method": of.member.method, "beta": of.member.beta, "seed": of.member.seed, **vars(of.row)}
        for of in result.rows
    ]
    restarts = (
        "PGD against the number of its starts, every start at another random point. If the "
        "accuracy keeps falling, that under few starts is too high."
    )
    return [
        Section(
            "One step",
            [
                "FGSM against beta. At eps = 0.5 every image can be made uniformly gray, so more "
                "than chance there means that the gradient misleads, not that the model is robust."
            ],
            one_step(rows),
        ),
        *(
            Section(f"Restarts at eps = {eps:g}", [restarts], against_restarts(rows, eps))
            for eps in sorted({row["eps"] for row in rows if row["attack"] == "pgd"})
        ),
        Section("All numbers", table=reevaluation_table(rows)),
    ]


def one_step(rows: Rows) -> Any:
    """Accuracy under FGSM against beta: a panel for each eps, a dot for each model.

    Args:
        rows: with `method`, `beta`, `seed`, `mode`, `attack`, `eps`, `accuracy`.
    """
    seen = [row for row in rows if row["attack"] == "fgsm"]
    base = alt.Chart().encode(_ACCURACY, color=_mode(seen))
    swept = base.transform_filter("datum.beta > 0").encode(
        alt.X("beta:Q", title="beta", scale=alt.Scale(type="log"))
    )
    dots = swept.mark_circle(size=45, opacity=0.6).encode(
        tooltip=["method:N", "beta:Q", "seed:O", "mode:N", alt.Tooltip("accuracy:Q", format=".1%")]
    )
    line = swept.mark_line(strokeWidth=2).encode(
        y=alt.Y("mean(accuracy):Q", title="accuracy"), detail="method:N"
    )
    twin = (
        base.transform_filter("datum.beta == 0")
        .mark_rule(strokeWidth=2, strokeDash=[5, 4])
        .encode(y="mean(accuracy):Q")
    )
    layers = alt.layer(dots, line, twin, data=alt.Data(values=seen))
    return layers.properties(width=210, height=220).facet(
        column=alt.Column("eps:O", title="eps of FGSM")
    )


def against_restarts(rows: Rows, eps: float) -> Any:
    """Accuracy under PGD against its restarts: a panel for each method and beta.

    Args:
        rows: with `method`, `beta`, `seed`, `mode`, `attack`, `eps`, `restarts`, `accuracy`.
        eps: radius.
    """
    seen = [
        {**row, "of": f"{row['method']}, beta = {row['beta']:g}" if row["beta"] else row["method"]}
        for row in rows
        if row["attack"] == "pgd" and row["eps"] == eps
    ]
    starts = sorted({row["restarts"] for row in seen})
    lines = (
        alt.Chart(alt.Data(values=seen))
        .mark_line(point=alt.OverlayMarkDef(size=35), strokeWidth=1.5, opacity=0.75)
        .encode(
            alt.X(
                "restarts:Q",
                title="starts of PGD",
                scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(values=starts, format="d"),
            ),
            _ACCURACY,
            color=_mode(seen),
            detail="seed:N",
            tooltip=["of:N", "seed:O", "restarts:Q", alt.Tooltip("accuracy:Q", format=".1%")],
        )
    )
    panels = alt.Facet("of:N", title=None, sort=list(dict.fromkeys(row["of"] for row in seen)))
    return lines.properties(width=210, height=160).facet(panels, columns=4)


def reevaluation_table(rows: Rows) -> ResultTable:
    """Mean and spread over seeds: a row for each method, beta and mode."""
    attacks = list(dict.fromkeys((r["attack"], r["eps"], r["restarts"]) for r in rows))
    titles = [
        ("clean" if not eps else f"FGSM {eps:g}") if n is None else f"PGD {eps:g} x {n}"
        for _, eps, n in attacks
    ]
    groups: dict[tuple, dict[tuple, list[float]]] = {}
    for row in rows:
        group = groups.setdefault((row["method"], row["beta"], row["mode"]), {})
        key = (row["attack"], row["eps"], row["restarts"])
        group.setdefault(key, []).append(row["accuracy"])
    return ResultTable(
        ["method", "beta", "mode", *(f"{title} %" for title in titles)],
        [
            [method, f"{beta:g}", mode, *(_spread(group.get(key, ())) for key in attacks)]
            for (method, beta, mode), group in groups.items()
        ],
    )


def _spread(values: Iterable[float]) -> str:
    percent = [100 * value for value in values]
    if not percent:
        return "-"
    spread = f" ± {stdev(percent):.1f}" if len(percent) > 1 else ""
    return f"{fmean(percent):.1f}{spread}"


def _mode(rows: Rows) -> alt.Color:
    present = [mode for mode in _MODES if any(row["mode"] == mode for row in rows)]
    scale = alt.Scale(domain=present, range=[_MODES[mode] for mode in present])
    return alt.Color("mode:N", title="Code", scale=scale)
