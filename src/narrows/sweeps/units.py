"""One unit of a sweep: an ordinary run, and the attacks on its finished models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from narrows.errors import NarrowsError
from narrows.experiments.member_attacks import attack_run, plan_attacks
from narrows.runs import Progress, Run, carry_out
from narrows.sweeps.grid import Unit

__all__ = ["UnitResult", "carry_out_unit"]


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
    """

    label: str
    path: str | None
    members: int = 0
    diverged: int = 0
    attacks: int = 0
    error: str | None = None


def carry_out_unit(unit: Unit, out: str | Path, progress: Progress | None = None) -> UnitResult:
    """Train, measure and attack the models of a unit; what is finished is not repeated.

    An error that a user can cause ends this unit only, and is part of the result.

    Args:
        unit: of a sweep.
        out: folder in which the folders of runs are made.
        progress: where progress is shown.
    """
    progress = progress or Progress()
    path = None
    try:
        run = _trained(unit, Path(out), progress)
        path = str(run.path)
        attacked = attack_run(run, plan_attacks(unit.attacks), progress)
        members = run.members()
        diverged = sum(len(run.lost(method)) for method in run.config.methods)
        run.check_diverged()
    except NarrowsError as error:
        return UnitResult(unit.label, path, error=" ".join(str(error).split()))
    attacks = len(attacked) // max(1, len(members))
    return UnitResult(unit.label, path, len(members), diverged, attacks)


def _trained(unit: Unit, out: Path, progress: Progress) -> Run:
    return carry_out(unit.config(), out, progress)
