"""The audit: every check, then the remedies that the failed ones ask for, then the verdict.

    audit(model, x, y, eps=8/255) -> Audit(findings, ledger, verdict)

Each attack is judged on the model itself and entered in one ledger, so the accuracy reached is that
of images which nothing fooled: the mean of the minimum. With a folder, what is finished is kept
there, and a broken audit goes on with the rest.

Source: Carlini et al. (2019), arXiv 1902.06705, whose list of what an evaluation owes this follows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from narrows.attacks import Ledger
from narrows.attacks.identity import digest
from narrows.attacks.suspicions import warn_of_suspicions
from narrows.audit._base import Case
from narrows.audit._claim import Budget, gray_radius
from narrows.audit.checks import CHECKS
from narrows.audit.remedies import REMEDIES, remedies_for
from narrows.audit.verdict import Verdict, judge
from narrows.errors import CheckpointError, InputError
from narrows.storage import write_atomically
from narrows.types import Finding, Norm

__all__ = ["Audit", "audit"]

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
        about: radius, norm, budget and seed.
        case: what was examined, for a closer look.
    """

    findings: tuple[Finding, ...]
    ledger: Ledger
    verdict: Verdict
    tried: tuple[str, ...]
    about: Mapping[str, Any]
    case: Case = field(repr=False)

    @property
    def flagged(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(finding.check for finding in self.findings if not finding.passed)

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes; numbers that are not finite are null."""
        return _plain(
            {
                "verdict": asdict(self.verdict),
                "findings": [asdict(finding) for finding in self.findings],
                "attacks": [asdict(entry) for entry in self.ledger.entries],
                "remedies": list(self.tried),
                "about": dict(self.about),
            }
        )


def audit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    norm: Norm = "linf",
    budget: str | Budget = "standard",
    twin: nn.Module | None = None,
    siblings: Sequence[nn.Module] = (),
    claimed: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> Audit:
    """Find out what robust accuracy may be claimed for `model` on these images.

    Args:
        model: any classifier of images in [0, 1] that returns logits; left as it was found.
        x: `[n, ...]` images in [0, 1]; more than the budget's are left out.
        y: `[n]` integer labels.
        eps: radius in units of the [0, 1] range.
        norm: `"linf"` or `"l2"`.
        budget: `"fast"`, `"standard"`, `"full"`, or one of your own.
        twin: the same model without its defence: attacks on it are transferred.
        siblings: the same model trained from other seeds.
        claimed: the robust accuracy somebody claims; by default what PGD reports.
        seed: of every attack: the same seed gives the same audit.
        progress: called before each part and at the end.
        folder: where findings and ledger are kept, so that a broken audit can go on.

    Raises:
        ConfigError: for an unknown budget or norm, or an eps that means 0-255 images.
        InputError: for images, labels or a claim that make no sense, or NaN logits.
        CheckpointError: if the folder holds another audit, or a damaged one.

    Example:
        >>> import torch
        >>> x = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
        >>> model = torch.nn.Linear(4, 2)
        >>> found = audit(model, x, model(x).argmax(1), eps=0.01, budget="fast")
        >>> found.flagged
        ()
    """
    if claimed is not None and not 0 <= claimed <= 1:
        raise InputError(f"claimed must be a share in [0, 1], got {claimed}; divide percent by 100")
    case = Case(
        model, x, y, eps=eps, norm=norm, budget=budget, twin=twin, siblings=siblings, seed=seed
    )
    with case.restored():
        warn_of_suspicions(model, case.x, case.y, eps, norm)
    about = {"eps": eps, "norm": norm, "seed": seed, **asdict(case.budget)}
    record = _Record(case, about, folder)
    for done, (name, check) in enumerate(CHECKS.items()):
        if progress:
            progress(name, done, len(CHECKS))
        if name not in record.findings:
            record.add(check(case))
    failed = [finding.check for finding in record.findings.values() if not finding.passed]
    wanted = remedies_for(failed, case.budget.thorough)
    for done, name in enumerate(wanted):
        if progress:
            progress(name, done, len(wanted))
        if name not in record.tried and len(case.survivors):
            REMEDIES[name](case)
            record.tried.append(name)
            record.save()
    if progress:
        progress("verdict", len(wanted), len(wanted))
    findings = tuple(record.findings[name] for name in CHECKS)
    verdict = judge(case, findings, claimed, blind(case) if wanted else 0.0)
    return Audit(findings, case.ledger, verdict, tuple(record.tried), about, case)


def blind(case: Case) -> float:
    """Share of all images that nothing fooled, not even at the gray radius, beyond chance.

    The margin's PGD and Square are tried there, and the views of remedies that see most.
    """
    rows = case.survivors
    if not len(rows):
        return 0.0
    gray = gray_radius(case)
    left = set(rows.tolist())
    for view in ("plain", "straight_through", "surrogate"):
        victim = case.view(view)
        if victim is not None and left:
            with case.restored():
                result = case.pgd(eps=gray, loss="margin")(victim, case.x[rows], case.y[rows])
            fooled = case.wrong(result.x_adv, rows)
            left -= set(rows[fooled].tolist())
    chance = case.y.bincount().max().item() / len(case.y)
    return max(0.0, len(left) / len(case.x) - chance)


class _Record:
    """Findings and remedies so far, kept in a folder if there is one."""

    def __init__(self, case: Case, about: Mapping[str, Any], folder: Path | None) -> None:
        self.case, self.about, self.folder = case, dict(about), folder
        others = () if folder is None else (case.twin, *case.siblings)
        self.relatives = [other and digest(case.x, case.y, other) for other in others]
        self.findings: dict[str, Finding] = {}
        self.tried: list[str] = []
        if folder is not None and (folder / "audit.json").exists():
            self._load(folder)

    def add(self, finding: Finding) -> None:
        self.findings[finding.check] = finding
        self.save()

    def save(self) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Of its own name, so that audit.json never speaks of another ledger than it was written of.
        ledger = self.folder / f"ledger-{len(self.case.ledger.entries)}.safetensors"
        self.case.ledger.save(ledger)
        state = {
            "about": self.about,
            "relatives": self.relatives,
            "findings": [asdict(finding) for finding in self.findings.values()],
            "tried": self.tried,
            "entered": sorted(self.case.entered),
            "ledger": ledger.name,
        }
        write_atomically(self.folder / "audit.json", json.dumps(_plain(state)).encode())
        for old in self.folder.glob("ledger-*.safetensors"):
            if old != ledger:
                old.unlink(missing_ok=True)

    def _load(self, folder: Path) -> None:
        try:
            state = json.loads((folder / "audit.json").read_text())
            found = [Finding(**finding) for finding in state["findings"]]
            about, tried, entered = state["about"], list(state["tried"]), set(state["entered"])
            relatives = state.get("relatives", self.relatives)  # older files do not say
            ledger = folder / state["ledger"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{folder / 'audit.json'} is damaged ({error}); delete the folder to start over"
            ) from error
        if about != _plain(self.about):
            raise CheckpointError(
                f"{folder} holds an audit with other settings ({about}); use another folder"
            )
        if relatives != self.relatives:
            raise CheckpointError(
                f"{folder} holds an audit with another twin or other siblings; use another folder"
            )
        case = self.case
        case.ledger = Ledger.load(ledger, case.x, case.y, case.model)
        case.entered = entered
        self.findings = {finding.check: finding for finding in found}
        self.tried = tried


def _plain(value: Any) -> Any:
    """For JSON, which has no infinity, no NaN, and only text as keys."""
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else f"{key:g}": _plain(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
