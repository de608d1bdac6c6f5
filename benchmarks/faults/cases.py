"""One case of a terminal, a disk, a name, a device or a model, and the rule that it has to keep."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ground as material
from child import Ended, Process
from sigkill import contents, differences

__all__ = ["Case", "Place", "fault_of", "one_line", "same_as_undisturbed"]


@dataclass
class Place:
    """Where a case runs: a new folder, with parts of the material."""

    ground: Path
    folder: Path

    def words(self, words: list[str]) -> list[str]:
        """The words with names of run folders in place of `@runs` and the like."""
        return material.Command("", tuple(words), ()).line(self.ground)


@dataclass
class Case:
    """Something that happens to a command.

    Attributes:
        name: of the case.
        group: of cases that are tried together.
        rule: that it has to keep, in one line.
        run: runs it, and says how it ended.
        codes: the exit codes that are right.
        needs: parts of the material.
        check: of how it ended: what is wrong, or nothing.
        slow: whether it starts an interpreter of its own.
    """

    name: str
    group: str
    rule: str
    run: Callable[[Place], Ended]
    codes: tuple[int, ...]
    needs: tuple[str, ...] = ()
    check: Callable[[Ended], str] | None = None
    slow: bool = False


def one_line(ended: Ended) -> str:
    """What is wrong with the error of a command that ended with 2 or 130, or nothing."""
    if "Traceback (most recent call last)" in ended.err + ended.out:
        return f"a traceback: {ended.err.strip().splitlines()[-1][:200]}"
    lines = ended.err.strip().splitlines()
    if any(line.startswith("Error:") for line in lines):
        return ""  # of click: a usage line may stand before it
    if len(lines) != 1 or not lines[0].startswith("narrows:"):
        return f"{len(lines)} lines on stderr: {ended.err[-200:]!r}"
    return ""


def fault_of(case: Case, ended: Ended) -> str:
    """What is wrong with how a case ended, or nothing."""
    if fault := ended.notes.get("fault"):
        return fault
    if "Traceback (most recent call last)" in ended.err:
        return one_line(ended)
    if ended.code not in case.codes:
        expected = " or ".join(map(str, case.codes))
        last = (ended.err.strip().splitlines() or [""])[-1][:200]
        return f"ended with {ended.code}, expected {expected}: {last}"
    silent = ended.notes.get("silent", False)
    if ended.code in (2, 130) and not silent and (fault := one_line(ended)):
        return fault
    return case.check(ended) if case.check is not None and ended.code == 0 else ""


_UNDISTURBED: dict[tuple[str, ...], list[dict]] = {}


def same_as_undisturbed(words: tuple[str, ...]) -> Callable[[Ended], str]:
    """A check that what was made is what the command makes when nothing happens to it."""

    def check(ended: Ended) -> str:
        made = ("made",) if "made" in words else ("runs",)
        if words not in _UNDISTURBED:
            _UNDISTURBED[words] = [_alone(words, ended.folder, made) for _ in range(2)]
        known, again = _UNDISTURBED[words]
        passing = set(differences(known, again))
        found = contents(ended.folder, made)
        changed = [place for place in differences(known, found) if place not in passing]
        left = [path.name for path in ended.folder.rglob("*.tmp")]
        if left:
            return f"left behind: {left[0]}"
        return f"not as without it: {changed[0]}" if changed else ""

    return check


def _alone(words: tuple[str, ...], folder: Path, made: tuple[str, ...]) -> dict:
    place = Place(Path(os.environ["NARROWS_FAULTS_GROUND"]), folder.with_name("alone"))
    material.clear(place.folder)
    place.folder.mkdir()
    material.spread(place.ground, place.folder, ("runs",))
    if words[0] == "reevaluate":
        for kept in place.folder.glob("runs/*/reevaluation"):
            material.clear(kept)
    Process(place.words(list(words)), place.folder).run()
    found = contents(place.folder, made)
    material.clear(place.folder)
    return found
