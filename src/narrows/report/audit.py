"""The page of an audit: the verdict, what each check found, and every attack that was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from narrows.attacks.ledger import Entry
from narrows.experiments.auditing import AuditRecord, FindingRecord, SurfacePoint, VerdictRecord
from narrows.report.page import Section, without_folders, write_page
from narrows.report.tables import ResultTable

__all__ = ["descent", "loss_surfaces", "radii", "write_audit"]

Row = dict[str, Any]

_BLUE, _RED = "#0072B2", "#D55E00"
_WIDTH, _HEIGHT = 420, 260


def write_audit(path: Path, record: AuditRecord, surfaces: Sequence[SurfacePoint] = ()) -> Path:
    """Write the page of an audit.

    Args:
        path: of the HTML file.
        record: of the audit.
        surfaces: points of the loss surfaces of some images.
    """
    verdict, request = record.verdict, record.request
    chance = next((f.data for f in record.findings if f.check == "chance"), {})
    sections = [
        Section("", [verdict.sentence], verdict=True),
        Section("What is known", [_bounds(verdict)], table=_known(verdict)),
        Section(
            "Checks",
            ["A failed check means that attacks may not have worked, not that the model is weak."],
            table=_findings(record.findings),
            wordy=True,
        ),
        Section(
            "Accuracy after each attack",
            [
                "Share of images that no attack so far has fooled. Only attacks that fooled "
                "another image are drawn.",
                *_training(record),
            ],
            descent(record.attacks, verdict.clean),
        ),
    ]
    if curve := chance.get("curve"):
        text = "Accuracy under PGD. At the largest radius no model can be above chance."
        sections.append(
            Section("Larger radii", [text], radii(curve, chance["chance"], request.norm))
        )
    if surfaces:
        text = (
            "Cross-entropy around some images, from the image (centre) towards the attack (right) "
            "and a random corner of the ball (up), in units of the radius. In a flat region there "
            "is no gradient to follow."
        )
        sections.append(Section("Loss surfaces", [text], loss_surfaces(surfaces)))
    sections.append(Section("All attacks", table=_attacks(record.attacks)))
    lead = (
        f"{without_folders(request.name)}. {verdict.images} images, {request.norm}, "
        f"eps = {request.eps:g}, seed {record.settings.get('seed', 0)}; "
        f"{sum(entry.forwards for entry in record.attacks):,} images forward, "
        f"{sum(entry.backwards for entry in record.attacks):,} backward."
    )
    return write_page(path, "Audit of robustness", lead, sections)


def _training(record: AuditRecord) -> list[str]:
    """On what the audit's own networks were trained, where it trained any."""
    source = record.settings.get("twins_from")
    if source is None or "twins" not in record.remedies:
        return []
    return [f"The networks that attacks were transferred from were trained on {source}."]


def descent(attacks: Sequence[Entry], clean: float) -> Any:
    """Accuracy that is left after each attack that fooled another image.

    Args:
        attacks: entries of a ledger.
        clean: accuracy without an attack.
    """
    rows: list[Row] = [{"attack": "no attack", "of": "", "left": clean}]
    for entry in attacks:
        if entry.robust_accuracy < rows[-1]["left"] - 1e-9:
            before = sum(row["of"] == entry.name for row in rows)
            name = f"{entry.name} ({before + 1})" if before else entry.name
            rows.append({"attack": name, "of": entry.name, "left": entry.robust_accuracy})
    names = [row["attack"] for row in rows]
    base = alt.Chart(alt.Data(values=rows)).encode(
        alt.Y("attack:N", sort=names, title=None, axis=alt.Axis(labelLimit=360))
    )
    bars = base.mark_bar(color=_BLUE, opacity=0.8).encode(
        alt.X("left:Q", title="accuracy left", scale=alt.Scale(domain=[0, 1]), axis=_percent())
    )
    text = base.mark_text(align="left", dx=4).encode(
        alt.X("left:Q"), text=alt.Text("left:Q", format=".1%")
    )
    return (bars + text).properties(width=_WIDTH, height=max(60, 22 * len(rows)))


def radii(curve: Mapping[str, float], chance: float, norm: str) -> Any:
    """Accuracy under one attack against its radius, and the most that chance allows.

    Args:
        curve: accuracy by radius.
        chance: share of the largest class.
        norm: of the radius.
    """
    rows = [{"eps": float(eps), "accuracy": left} for eps, left in curve.items()]
    title = f"eps, {norm} radius in the [0, 1] image range"
    line = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=alt.OverlayMarkDef(size=55), strokeWidth=2, color=_BLUE)
        .encode(
            alt.X("eps:Q", title=title),
            alt.Y("accuracy:Q", scale=alt.Scale(domain=[0, 1]), axis=_percent()),
            tooltip=["eps:Q", alt.Tooltip("accuracy:Q", format=".1%")],
        )
    )
    limit = alt.Chart(alt.Data(values=[{"chance": chance}]))
    rule = limit.mark_rule(color=_RED, strokeDash=[6, 3]).encode(
        alt.Y("chance:Q", title="accuracy")
    )
    label = limit.mark_text(align="left", dy=-6, color=_RED, text="chance").encode(
        alt.Y("chance:Q", title="accuracy"), x=alt.value(6)
    )
    return (line + rule + label).properties(width=_WIDTH, height=_HEIGHT)


def loss_surfaces(points: Sequence[SurfacePoint]) -> Any:
    """A heat map for each image, with white lines where the model is wrong."""
    steps = sorted({point.a for point in points})
    step = steps[1] - steps[0]
    data = [{**vars(point), "a1": point.a + step, "b1": point.b + step} for point in points]
    base = alt.Chart().encode(
        alt.X("a:Q", title="towards the attack", scale=alt.Scale(nice=False)),
        alt.X2("a1:Q"),
        alt.Y("b:Q", title="random direction", scale=alt.Scale(nice=False)),
        alt.Y2("b1:Q"),
    )
    heat = base.mark_rect().encode(
        alt.Color("loss:Q", title="loss, nats", scale=alt.Scale(scheme="viridis")),
        tooltip=["a:Q", "b:Q", alt.Tooltip("loss:Q", format=".3f"), "correct:N"],
    )
    wrong = (
        base.transform_filter("!datum.correct")
        .mark_rect(fill=None, stroke="white", strokeWidth=0.4, strokeOpacity=0.7)
        .encode()
    )
    layers = alt.layer(heat, wrong, data=alt.Data(values=data))
    chart = layers.properties(width=220, height=220).facet(
        column=alt.Column("image:O", title="image (white grid: misclassified)")
    )
    return chart.resolve_scale(color="independent")


def _bounds(verdict: VerdictRecord) -> str:
    """What the certified number means, or that there is none."""
    if verdict.certified is None:
        return (
            "Nothing is certified: no bound is cheap to have for this model, and the next attack "
            "may get below what these have left."
        )
    return (
        "The true robust accuracy on these images lies between what is certified "
        f"({verdict.certified_by}) and what was left."
    )


def _known(verdict: VerdictRecord) -> ResultTable:
    """Claimed, left and certified, side by side."""
    certain = "none" if verdict.certified is None else f"{verdict.certified:.1%}"
    row = [f"{verdict.claimed:.1%}", f"{verdict.reached:.1%}", certain]
    return ResultTable(["claimed", "left by all attacks", "certified"], [row])


def _findings(findings: Sequence[FindingRecord]) -> ResultTable:
    def word(finding: FindingRecord) -> str:
        if not finding.examined:
            return "not examined"
        return "passed" if finding.passed else "failed"

    rows = [[row.check, word(row), row.evidence, row.remedy] for row in findings]
    return ResultTable(["check", "result", "evidence", "what to do"], rows)


def _attacks(attacks: Sequence[Entry]) -> ResultTable:
    rows = [
        [
            entry.name,
            f"{entry.attacked:,}",
            f"{entry.fooled:,}",
            f"{entry.robust_accuracy:.1%}",
            f"{entry.forwards:,}",
            f"{entry.backwards:,}",
        ]
        for entry in attacks
    ]
    titles = ["attack", "images", "fooled", "accuracy left", "forwards", "backwards"]
    return ResultTable(titles, rows)


def _percent() -> alt.Axis:
    return alt.Axis(format="%")
