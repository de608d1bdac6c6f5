"""Findings and remedies of an audit so far, kept in a folder from which a broken one goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from narrows.attacks import Ledger
from narrows.attacks.identity import digest
from narrows.audit._base import Case
from narrows.errors import CheckpointError
from narrows.storage import check_regular, json_bytes, json_finite, write_atomically
from narrows.types import Finding

__all__ = ["Record"]

_DIGEST = "sha256"


class Record:
    """What is finished of an audit.

    Args:
        case: whose ledger is kept too.
        settings: of the audit, which a folder must have been made with.
        folder: where to keep it; nowhere if there is none.

    Raises:
        CheckpointError: for a folder that is damaged or belongs to another audit.
    """

    def __init__(self, case: Case, settings: Mapping[str, Any], folder: Path | None) -> None:
        self.case, self.settings, self.folder = case, dict(settings), folder
        others = () if folder is None else (case.twin, *case.siblings)
        self.relatives = [other and digest(case.x, case.y, other.model) for other in others]
        if folder is not None and case.training is not None:
            self.relatives.append(digest(*case.training, None))
        self.findings: dict[str, Finding] = {}
        self.tried: list[str] = []
        if folder is not None and (folder / "audit.json").exists():
            self._load(folder)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that object so far."""
        return [finding.check for finding in self.findings.values() if not finding.passed]

    def add(self, finding: Finding) -> None:
        """Keep what a check found."""
        self.findings[finding.check] = finding
        self.save()

    def save(self) -> None:
        """Write everything, complete or not at all."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Of its own name, so that audit.json never speaks of another ledger than it was written of.
        ledger = self.folder / f"ledger-{len(self.case.ledger.entries)}.safetensors"
        self.case.ledger.save(ledger)
        state = {
            "settings": self.settings,
            "relatives": self.relatives,
            "findings": [asdict(finding) for finding in self.findings.values()],
            "tried": self.tried,
            "entered": sorted(self.case.entered),
            "witnessed": self.case.witnessed(),
            "ledger": ledger.name,
        }
        plain = json_finite(state)
        signed = {**plain, _DIGEST: _digest(plain)}
        write_atomically(self.folder / "audit.json", json.dumps(signed).encode())
        for old in self.folder.glob("ledger-*.safetensors"):
            if old != ledger:
                old.unlink(missing_ok=True)

    def _load(self, folder: Path) -> None:
        try:
            check_regular(folder / "audit.json")
            state = json.loads((folder / "audit.json").read_text())
            if state.pop(_DIGEST) != _digest(state):
                raise ValueError("its contents have changed since they were written")
            settings, relatives = state["settings"], state["relatives"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(folder, error) from error
        if settings != json_finite(self.settings):
            raise CheckpointError(
                f"{folder} holds an audit with other settings ({settings}); use another folder"
            )
        if relatives != self.relatives:
            raise CheckpointError(
                f"{folder} holds an audit with another twin, other siblings or other training "
                "data; use another folder"
            )
        case = self.case
        try:
            findings = [_finding(entry) for entry in state["findings"]]
            tried, entered = [str(name) for name in state["tried"]], set(state["entered"])
            ledger = folder / Path(state["ledger"]).name
            case.witness(state["witnessed"])
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise _damaged(folder, error) from error
        case.ledger = Ledger.load(ledger, case.x, case.y, case.model)
        case.entered = entered
        self.findings = {finding.check: finding for finding in findings}
        self.tried = tried


def _finding(entry: Mapping[str, Any]) -> Finding:
    finding = Finding(**entry)
    expected = {"check": str, "passed": bool, "evidence": str, "remedy": str, "data": dict}
    for name, kind in expected.items():
        if not isinstance(getattr(finding, name), kind):
            raise ValueError(f"{name} of a finding is no {kind.__name__}")
    return finding


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json_bytes(plain)).hexdigest()


def _damaged(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{folder / 'audit.json'} is damaged ({error}); delete the folder to start over"
    )
