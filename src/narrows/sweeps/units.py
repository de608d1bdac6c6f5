"""One unit of a sweep: an ordinary run, and the attacks on its finished models."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from narrows.errors import FolderInUseError, NarrowsError
from narrows.experiments.member_attacks import attack_run, plan_attacks
from narrows.runs import Progress, carry_out
from narrows.runs.environment import current_environment, other_code
from narrows.sweeps.grid import Unit

__all__ = ["UnitResult", "carry_out_unit"]

_PAUSE = 1.0  # seconds before a folder that is in use is tried again


@dataclass(frozen=True)
class UnitResult:
    """How a unit ended.

    Attributes:
        label: of the unit.
        path: of its run; `None` where there is none.
        members: models that were trained and measured.
        diverged: models that diverged.
        attacks: attacks on each of them.
        error: why it is not complete; `None` if it is.
        in_use: whether that is because another process carries it out.
        other_code: versions of narrows, other than this one, that computed a part of it.
    """

    label: str
    path: str | None
    members: int = 0
    diverged: int = 0
    attacks: int = 0
    error: str | None = None
    in_use: bool = False
    other_code: str = ""


def carry_out_unit(unit: Unit, out: str | Path, progress: Progress | None = None) -> UnitResult:
    """Train, measure and attack the models of a unit; what is finished is not repeated.

    An error that a user can cause ends this unit only, and is part of the result.

    Args:
        unit: of a sweep.
        out: folder in which the folders of runs are made.
        progress: where progress is shown.
    """
    progress = progress or Progress()
    path, others = None, ""
    try:
        run = carry_out(unit.config(), Path(out), progress)
        path, others = str(run.path), other_code(run.environment, current_environment("cpu"))
        attacked = attack_run(run, plan_attacks(unit.attacks), progress)
        members = run.members()
        diverged = sum(len(run.lost(method)) for method in run.config.methods)
        run.check_diverged()
    except NarrowsError as error:
        if in_use := isinstance(error, FolderInUseError):
            time.sleep(_PAUSE)
        reason = " ".join(str(error).split())
        return UnitResult(unit.label, path, error=reason, in_use=in_use, other_code=others)
    attacks = len(attacked) // max(1, len(members))
    return UnitResult(unit.label, path, len(members), diverged, attacks, other_code=others)
