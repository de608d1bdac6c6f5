"""An audit with a folder: what is asked, what was found, and the surfaces that are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from narrows.attacks._identity import digest as fingerprint
from narrows.audit import CHECKS, REMEDIES, Case, audit, loss_surface, resolve_budget
from narrows.experiments.identity import identity_of
from narrows.experiments.progress import Progress
from narrows.experiments.store import open_run
from narrows.experiments.victims import Relatives, Victim
from narrows.models.bottleneck import as_classifier
from narrows.types import Norm

__all__ = ["Found", "audit_victim"]

_DRAWN = 3  # images whose loss surface is drawn
_PARTS = len(CHECKS) + len(REMEDIES)  # of the remedies, only those that a check asks for


class Found(NamedTuple):
    """The record of an audit (`Audit.to_json` and what was asked), and rows of loss surfaces."""

    record: dict[str, Any]
    surfaces: list[dict[str, Any]]
    folder: Path


def audit_victim(
    victim: Victim,
    relatives: Relatives,
    *,
    eps: float,
    norm: Norm,
    budget: str,
    claimed: float | None,
    images: int | None,
    out: Path | None,
    progress: Progress,
) -> Found:
    """Audit a model on the first test images; a broken audit goes on, a finished one is kept.

    Returns:
        What was found, stored as `record.json` beside the ledger of all attacks.
    """
    spend = resolve_budget(budget)
    x, y = victim.test.batch(slice(0, images or spend.images))
    asked = {
        "name": victim.name,
        "data": victim.test.name,
        "eps": eps,
        "norm": norm,
        "budget": budget,
        "images": len(x),
        "claimed": claimed,
        "device": str(x.device),
        "source": victim.source,
        "weights": fingerprint(x, y, victim.model),
        "twin": relatives.twin and fingerprint(x, y, relatives.twin),
        "siblings": [fingerprint(x, y, sibling) for sibling in relatives.siblings],
    }
    path = out or Path("audits") / f"{victim.test.name}-{identity_of(asked)}"
    model = as_classifier(victim.model)
    twin = relatives.twin and as_classifier(relatives.twin)
    siblings = [as_classifier(sibling) for sibling in relatives.siblings]
    with open_run(path, asked) as folder:
        if folder.file("surfaces.json").exists():
            kept = Found(folder.read("record.json"), folder.read("surfaces.json"), path)
            progress.note(_kept(kept))
            return kept
        with progress.bar("audit", _PARTS) as bar:
            found = audit(
                model,
                x,
                y,
                eps=eps,
                norm=norm,
                budget=spend.with_images(len(x)),
                claimed=claimed,
                twin=twin,
                siblings=siblings,
                folder=folder.sub("state").path,
                progress=lambda name, done, total: bar.show(_place(name, done), name),
            )
        record = {**found.to_json(), "asked": asked}
        surfaces = _surfaces(found.case)
        folder.write("record.json", record)
        folder.write("surfaces.json", surfaces)
    return Found(record, surfaces, path)


def _place(name: str, done: int) -> int:
    """How many parts are done, at the start of the part `name`."""
    if name == "verdict":
        return _PARTS
    return done if name in CHECKS else len(CHECKS) + done


def _kept(found: Found) -> str:
    """What a finished audit consists of, in one line."""
    record = found.record
    return (
        f"audit: kept what was found before, by {len(record['findings'])} checks, "
        f"{len(record['remedies'])} remedies and {len(record['attacks'])} attacks; delete "
        f"{found.folder} to audit anew"
    )


def _surfaces(case: Case) -> list[dict[str, Any]]:
    """The loss around the first images that are classified correctly, as rows for a chart."""
    rows = case.clean.nonzero().squeeze(1)[:_DRAWN]
    if not len(rows):
        return []
    found = loss_surface(case, rows, points=31)
    steps = [round(step, 4) for step in found.steps.tolist()]
    return [
        {
            "image": int(row),
            "a": a,
            "b": b,
            "loss": round(found.loss[image, i, j].item(), 4),
            "correct": bool(found.correct[image, i, j]),
        }
        for image, row in enumerate(rows.tolist())
        for i, a in enumerate(steps)
        for j, b in enumerate(steps)
        if found.inside[i, j]
    ]
