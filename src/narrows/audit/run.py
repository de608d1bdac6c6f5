"""The audit: every check, then the remedies that the failed ones ask for, then the verdict.

    audit(model, x, y, eps=8/255) -> Audit(findings, ledger, verdict)

Each attack is judged on the model itself and entered in one ledger, so the accuracy reached is that
of images which nothing fooled: the mean of the minimum. With a folder, what is finished is kept
there, and a broken audit goes on with the rest.

Source: Carlini et al. (2019), arXiv 1902.06705, whose list of what an evaluation owes this follows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from narrows.attacks import Ledger
from narrows.attacks.suspicions import warn_of_suspicions
from narrows.audit._base import Case
from narrows.audit._budget import Budget
from narrows.audit._claim import gray_radius
from narrows.audit._record import Record
from narrows.audit._statistics import more_than
from narrows.audit.certified import certify
from narrows.audit.checks import CHECKS, Check
from narrows.audit.remedies import REMEDIES, remedies_for, unfit
from narrows.audit.verdict import Verdict, judge
from narrows.checks import ArrayLike, check_number, check_path
from narrows.errors import InputError
from narrows.storage import json_finite
from narrows.types import Finding, Norm

__all__ = ["Audit", "audit"]

_SHARPEST = ("plain", "straight_through", "surrogate", "labels")
_AT_THE_END = ("finite", "state")  # checks of what was seen until then

Progress = Callable[[str, int, int], None]
"""Told the name of each part, how many are done, and of how many, before each and at the end."""


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        findings: one a check.
        ledger: the worst attempt at each image, and every attack.
        verdict: what may be claimed.
        tried: names of the remedies that were tried.
        settings: radius, norm, budget and seed.
        case: what was examined, for a closer look.
    """

    findings: tuple[Finding, ...]
    ledger: Ledger
    verdict: Verdict
    tried: tuple[str, ...]
    settings: Mapping[str, Any]
    case: Case = field(repr=False)

    @property
    def flagged(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(finding.check for finding in self.findings if not finding.passed)

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes; numbers that are not finite are null."""
        return json_finite(
            {
                "verdict": asdict(self.verdict),
                "findings": [asdict(finding) for finding in self.findings],
                "attacks": [asdict(entry) for entry in self.ledger.entries],
                "remedies": list(self.tried),
                "settings": dict(self.settings),
            }
        )


def audit(
    model: nn.Module,
    x: ArrayLike,
    y: ArrayLike,
    *,
    eps: float,
    norm: Norm = "linf",
    budget: str | Budget = "standard",
    twin: nn.Module | None = None,
    siblings: Sequence[nn.Module] = (),
    training: tuple[ArrayLike, ArrayLike] | None = None,
    claimed: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Audit:
    """Find out what robust accuracy may be claimed for `model` on these images.

    Args:
        model: any classifier of images in [0, 1] that returns logits; left as it was found.
        x: `[n, ...]` images in [0, 1]; more than the budget's are left out.
        y: `[n]` integer labels.
        eps: radius in units of the [0, 1] range; with L0 a number of pixels.
        norm: `"linf"`, `"l2"`, `"l1"` or `"l0"`.
        budget: `"fast"`, `"standard"`, `"full"`, or one of your own.
        twin: the same model without its defence: attacks on it are transferred.
        siblings: the same model trained from other seeds.
        training: images and labels that networks of the audit's own are trained on, for attacks
            to transfer; by default the audited images, which makes weaker twins.
        claimed: the robust accuracy somebody claims; by default what PGD reports.
        seed: of every attack: the same seed gives the same audit.
        progress: called before each part and at the end.
        folder: where findings and ledger are kept, so that a broken audit can go on.

    Raises:
        ConfigError: for an unknown budget or norm, or an eps that means 0-255 images.
        InputError: for images, labels or a claim that make no sense, or NaN logits.
        CheckpointError: if the folder holds another audit, or a damaged one.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> x = torch.rand(20, 4)
        >>> model = torch.nn.Linear(4, 2)
        >>> found = audit(model, x, model(x).argmax(1), eps=0.01, budget="fast")
        >>> found.flagged
        ()
    """
    if claimed is not None and not 0 <= check_number(claimed, "claimed", error=InputError) <= 1:
        raise InputError(f"claimed must be a share in [0, 1], got {claimed}; divide percent by 100")
    place = None if folder is None else check_path(folder, "folder")
    case = Case(
        *(model, x, y),
        **{"eps": eps, "norm": norm, "budget": budget, "seed": seed},
        twin=twin,
        siblings=siblings,
        training=training,
    )
    with case.restored():
        warn_of_suspicions(case.subject, case.x, case.y, eps, norm)
    settings = {"eps": case.eps, "norm": norm, "seed": seed, **asdict(case.budget)}
    settings |= {"left_out": case.left_out, "twins_from": case.describe_training()}
    record = Record(case, settings, place)
    tell = progress or _silent
    for done, (name, check) in enumerate(CHECKS.items()):
        tell(name, done, len(CHECKS))
        if name not in record.findings:
            record.add(_examine(name, check, case))
    _settle_noise(case, record)
    _remedy(case, record, tell)
    if _settle_noise(case, record):
        _remedy(case, record, tell)
    tell("verdict", 1, 1)
    for name in _AT_THE_END:
        if record.findings[name].passed:
            record.add(_examine(name, CHECKS[name], case))
    findings = tuple(record.findings[name] for name in CHECKS)
    unseen = blind(case) if record.failed else 0.0
    verdict = judge(case, findings, claimed, unseen, certify(case))
    return Audit(findings, case.ledger, verdict, tuple(record.tried), settings, case)


def _remedy(case: Case, record: Record, tell: Progress) -> None:
    """Try every remedy that is asked for and was not tried before."""
    wanted = remedies_for(
        [*record.failed, *(["noise"] if case.late_noise else [])],
        thorough=case.budget.thorough,
        twins=case.budget.twins,
        without=unfit(case),
    )
    for done, name in enumerate(wanted):
        tell(name, done, len(wanted))
        if name not in record.tried and len(case.survivors):
            _try(name, case)
            record.tried.append(name)
            record.save()


def _settle_noise(case: Case, record: Record) -> bool:
    """Look for noise where attacks have led; what was found is examined as noise."""
    if not case.settle_noise():
        return False
    record.add(_examine("noise", CHECKS["noise"], case))
    return True


def _silent(name: str, done: int, total: int) -> None:
    """Tell nobody."""


def _examine(name: str, check: Check, case: Case) -> Finding:
    """What a check finds; that the model refuses it is a finding too."""
    try:
        return check(case)
    except InputError as error:
        return Finding(
            *(name, False, f"could not be examined: {error}"),
            "make the model return logits for every image in [0, 1], then audit it again",
            examined=False,
        )


def _try(name: str, case: Case) -> None:
    try:
        REMEDIES[name](case)
    except InputError as error:
        logging.getLogger(__name__).warning("the remedy %s could not be tried: %s", name, error)


def blind(case: Case) -> float:
    """Share of all images that nothing fooled, not even at the gray radius, beyond chance.

    The margin's PGD is tried there, on the views that see most.
    """
    rows = case.survivors
    if not len(rows):
        return 0.0
    attack = case.pgd(eps=gray_radius(case), loss="margin")
    left = torch.ones_like(rows, dtype=torch.bool)
    for view in _SHARPEST:
        victim = case.view(view)
        if victim is None or not left.any():
            continue
        try:
            with case.restored():
                result = attack(victim, case.x[rows], case.y[rows])
        except InputError:
            continue
        left &= ~case.wrong(result.x_adv, rows)
    chance = case.y.bincount().max().item() / len(case.y)
    count = int(left.sum())
    return count / len(case.x) - chance if more_than(count, len(case.x), chance) else 0.0
