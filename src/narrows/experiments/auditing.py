"""An audit with a folder: what was requested, what came out, and the surfaces that are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from narrows.attacks.identity import digest as fingerprint
from narrows.attacks.ledger import Entry
from narrows.audit import CHECKS, REMEDIES, Case, audit, loss_surface, resolve_budget
from narrows.checks import check_number
from narrows.experiments.folders import request_folder
from narrows.experiments.targets import Relatives, Target
from narrows.models.bottleneck import as_classifier
from narrows.runs import Member, Progress
from narrows.runs.files import read_json, write_json
from narrows.types import Norm

__all__ = [
    "AuditRecord",
    "AuditRequest",
    "FindingRecord",
    "SurfacePoint",
    "VerdictRecord",
    "audit_target",
    "read_audit",
]

_TRAINING = 20_000  # images, at most, that networks are trained on to transfer from
_SURFACES = 3  # images whose loss surface is drawn
_PARTS = len(CHECKS) + len(REMEDIES)  # of the remedies, only those that a check asks for
_RECORD, _KIND = "record.json", "record of an audit"


@dataclass(frozen=True)
class AuditRequest:
    """Everything that the result of `narrows audit` depends on; see `narrows.audit.audit`.

    Attributes:
        name: of the model.
        run: hash of the run that the model is of; `None` for a model from a user's file.
        member: which of the run's models it is.
        weights: SHA-256 of images, labels and weights; likewise `twin` and `siblings`.
    """

    name: str
    data: str
    eps: float
    norm: Norm
    budget: str
    images: int
    claimed: float | None
    device: str
    source: str
    weights: str
    twin: str | None
    siblings: list[str]
    run: str | None = None
    member: Member | None = None

    def __post_init__(self) -> None:
        check_number(self.eps, "eps")
        if self.claimed is not None:
            check_number(self.claimed, "claimed")


@dataclass(frozen=True)
class VerdictRecord:
    """A `narrows.audit.Verdict`, as it is stored."""

    outcome: str
    claimed: float
    reached: float
    low: float
    high: float
    images: int
    clean: float
    sentence: str
    attack: str | None = None
    certified: float | None = None
    certified_by: str = ""


@dataclass(frozen=True)
class FindingRecord:
    """A `narrows.types.Finding`, as it is stored."""

    check: str
    passed: bool
    evidence: str
    remedy: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    examined: bool = True


@dataclass(frozen=True)
class AuditRecord:
    """The result of an audit.

    Attributes:
        request: what was audited, and how.
        verdict: what may be claimed.
        findings: one for each check.
        attacks: one entry for each attack, in the order in which they were run.
        remedies: names of those that were applied.
        settings: those of the audit.
    """

    request: AuditRequest
    verdict: VerdictRecord
    findings: list[FindingRecord]
    attacks: list[Entry]
    remedies: list[str]
    settings: dict[str, Any]


@dataclass(frozen=True)
class SurfacePoint:
    """The loss near an image: `a` radii towards the attack and `b` in a random direction."""

    image: int
    a: float
    b: float
    loss: float
    correct: bool


def audit_target(
    target: Target,
    relatives: Relatives,
    *,
    eps: float,
    norm: Norm,
    budget: str,
    claimed: float | None,
    images: int | None,
    out: Path | None,
    progress: Progress,
) -> tuple[AuditRecord, list[SurfacePoint], Path]:
    """Audit a model on the first test images; a broken audit continues, a finished one is kept.

    Args:
        target: the model and its test set.
        relatives: models that it is compared with.
        eps: radius in units of the [0, 1] range.
        norm: in which it is measured.
        budget: `"fast"`, `"standard"` or `"full"`.
        claimed: robust accuracy that somebody claims, in [0, 1].
        images: number of test images; `None` for the budget's.
        out: folder of the result; `None` for one below `audits/`.
        progress: where progress is shown.

    Returns:
        The record, points of the loss surfaces of some images, and the folder that holds both
        beside the ledger of all attacks.
    """
    spend = resolve_budget(budget)
    x, y = target.test.batch(slice(0, images or spend.images))
    request = AuditRequest(
        name=target.name,
        data=target.test.name,
        eps=eps,
        norm=norm,
        budget=budget,
        images=len(x),
        claimed=claimed,
        device=str(x.device),
        source=target.source,
        weights=fingerprint(x, y, target.model),
        twin=None if relatives.twin is None else fingerprint(x, y, relatives.twin),
        siblings=[fingerprint(x, y, sibling) for sibling in relatives.siblings],
        run=None if target.run is None else target.run.config.identity(),
        member=target.member,
    )
    prefix = f"audits/{target.test.name}"
    with request_folder(request, out, prefix, request.device, _RECORD, progress) as folder:
        surfaces_file = folder / "surfaces.json"
        if surfaces_file.exists():
            record = read_audit(folder)
            progress.note(_kept(record, folder))
            return record, read_json(surfaces_file, "loss surfaces", list[SurfacePoint]), folder
        with progress.bar("audit", _PARTS) as bar:
            result = audit(
                as_classifier(target.model),
                x,
                y,
                eps=eps,
                norm=norm,
                budget=spend.with_images(len(x)),
                claimed=claimed,
                twin=None if relatives.twin is None else as_classifier(relatives.twin),
                siblings=[as_classifier(sibling) for sibling in relatives.siblings],
                training=target.train.batch(slice(0, _TRAINING)),
                folder=folder / "state",
                progress=lambda name, done, total: bar.show(_place(name, done), name),
            )
        plain = {**result.to_json(), "request": request}
        write_json(folder / _RECORD, _KIND, plain)
        surfaces = _surfaces(result.case)
        write_json(surfaces_file, "loss surfaces", surfaces)
    return msgspec.convert(msgspec.to_builtins(plain), AuditRecord), surfaces, folder


def read_audit(folder: Path) -> AuditRecord:
    """The record of a finished audit.

    Raises:
        StoreError: if there is none, or it is damaged.
    """
    return read_json(folder / _RECORD, _KIND, AuditRecord)


def _place(name: str, done: int) -> int:
    """How many parts are done, at the start of the part `name`."""
    if name == "verdict":
        return _PARTS
    return done if name in CHECKS else len(CHECKS) + done


def _kept(record: AuditRecord, folder: Path) -> str:
    return (
        f"audit: finished before and kept, with {len(record.findings)} checks, "
        f"{len(record.remedies)} remedies and {len(record.attacks)} attacks; delete {folder} to "
        "audit anew"
    )


def _surfaces(case: Case) -> list[SurfacePoint]:
    """The loss around the first images that are classified correctly."""
    rows = case.clean.nonzero().squeeze(1)[:_SURFACES]
    if not len(rows):
        return []
    surface = loss_surface(case, rows, points=31)
    steps = [round(step, 4) for step in surface.steps.tolist()]
    return [
        SurfacePoint(
            image=int(row),
            a=a,
            b=b,
            loss=round(surface.loss[image, i, j].item(), 4),
            correct=bool(surface.correct[image, i, j]),
        )
        for image, row in enumerate(rows.tolist())
        for i, a in enumerate(steps)
        for j, b in enumerate(steps)
        if surface.inside[i, j]
    ]
