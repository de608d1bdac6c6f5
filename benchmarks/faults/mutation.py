"""One mutation: what is changed, the command that meets it, and what may come of it."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ground as material
import judge

__all__ = ["Intact", "Mutation", "Verdict", "carry_out", "intact"]

_PROGRESS = re.compile(r"^.*: \d+/\d+, .*$", re.MULTILINE)
_NOTES = re.compile(r"^.*\b(kept|finished before|goes on|resumed)\b.*$", re.MULTILINE)
_COUNTERS = re.compile(
    r"(view|param|data|concat|layer|alt|vis|selector|output)[_-]?\d+|[0-9a-f]{32}"
)


@dataclass
class Mutation:
    """A change and the command that meets it.

    Attributes:
        command: its name in the table.
        text: what was changed.
        words: the command line.
        call: a function to call in place of a command line.
        needs: parts of the material.
        prepare: puts the change into the folder that the command runs in.
        seconds: of CPU time after which it is interrupted.
        may_be_interrupted: whether that is no fault, as for work that was really asked for.
        refused: whether it has to end with 2.
        unchanged: the intact command whose output this one has to have, if it ends with 0.
        environment: variables of the environment; None for one that is taken away.
    """

    command: str
    text: str
    words: list[str] = field(default_factory=list)
    call: Callable[[], Any] | None = None
    needs: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = lambda folder: None
    seconds: float = 10.0
    waiting: float = 60.0
    may_be_interrupted: bool = False
    refused: bool = False
    unchanged: material.Command | None = None
    environment: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # No shell can pass the one; the other stands for a byte that is no UTF-8.
        self.words = [word.replace("\ud800", "\udcff") for word in self.words]

    def limits(self, folder: Path) -> judge.Limits:
        """What it may take."""
        return judge.Limits(self.seconds, self.waiting, self.may_be_interrupted, root=folder)

    def shown(self) -> str:
        """The command line as one would type it, in one line."""
        words = " ".join(shlex.quote(word) for word in self.words)
        line = f"narrows {words}" if self.call is None else self.command
        return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", lambda m: repr(m[0])[1:-1], line)


@dataclass
class Verdict:
    """The fault, if there was one, and what the command did."""

    fault: str
    outcome: judge.Outcome


def carry_out(mutation: Mutation, ground: Path, folder: Path) -> Verdict:
    """Run a mutation in a new folder, which is deleted again."""
    material.clear(folder)
    folder.mkdir()
    before = Path.cwd()
    try:
        material.spread(ground, folder, mutation.needs)
        mutation.prepare(folder)
        os.chdir(folder)
        with Variables({"HOME": str(folder), "XDG_CACHE_HOME": "cache"} | mutation.environment):
            limits = mutation.limits(folder)
            if mutation.call is None:
                outcome = judge.run_command(mutation.words, limits)
            else:
                outcome = judge.run_call(mutation.call, limits)
        fault = judge.fault_of(outcome, limits, command=mutation.call is None)
        return Verdict(fault or _beyond(mutation, outcome, ground, folder), outcome)
    finally:
        os.chdir(before)
        material.clear(folder)


def _beyond(mutation: Mutation, outcome: judge.Outcome, ground: Path, folder: Path) -> str:
    """Faults that only a comparison shows."""
    if mutation.refused and outcome.code != 2:
        return f"accepted: ended with {outcome.code!r}"
    if outcome.code != 0:
        return ""
    if marked := judge.marked_up(folder):
        return marked
    changed = _changed(mutation, outcome, ground, folder)
    return f"silent: another {changed}" if changed else ""


def product(outcome: judge.Outcome, folder: Path) -> dict[str, str]:
    """What a command printed, and a digest of each page, without times, counters and notes."""
    text = _NOTES.sub("", _PROGRESS.sub("", outcome.out))
    made = {"output": " ".join(text.split())}
    for page in sorted(folder.rglob("*.html")):
        text = _COUNTERS.sub("#", page.read_text("utf-8", "replace"))
        made[page.name] = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return made


@dataclass
class Intact:
    """What a command does on intact material.

    Attributes:
        made: what comes of it, of `product`; what differs between two runs is not there.
        reads: the JSON files of the material that it opens.
        runs: how often it was run.
    """

    made: dict[str, str]
    reads: list[str]
    runs: int = 1


_KNOWN: dict[tuple[str, ...], Intact] = {}


def intact(command: material.Command, ground: Path, folder: Path) -> Intact:
    """Run a command on intact material, once in a process."""
    if command.words not in _KNOWN:
        _KNOWN[command.words] = _run_intact(command, ground, folder)
    return _KNOWN[command.words]


def _run_intact(command: material.Command, ground: Path, folder: Path) -> Intact:
    aside, before = folder.with_name(f"{folder.name}-intact"), Path.cwd()
    reads: dict[str, None] = {}

    def note(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
            path = Path(os.path.abspath(os.fspath(arguments[0])))
            if path.suffix in (".json", ".jsonl") and path.is_relative_to(aside):
                reads[str(path.relative_to(aside))] = None

    material.clear(aside)
    aside.mkdir()
    try:
        material.spread(ground, aside, command.needs)
        os.chdir(aside)
        with material.on_event(note):
            outcome = judge.run_command(command.line(ground), judge.Limits(60, 600, root=aside))
        kept = sorted(name for name in reads if (ground / name).exists())
        return Intact(product(outcome, aside), kept)
    finally:
        os.chdir(before)
        material.clear(aside)


def _changed(mutation: Mutation, outcome: judge.Outcome, ground: Path, folder: Path) -> str:
    """The first part of what was made that is not as it is on intact material."""
    if mutation.unchanged is None:
        return ""
    known = intact(mutation.unchanged, ground, folder)
    made = product(outcome, folder)

    def differing() -> list[str]:
        return [name for name in made if made[name] != known.made.get(name, made[name])]

    if differing() and known.runs == 1:
        again = _run_intact(mutation.unchanged, ground, folder).made
        known.made = dict(known.made.items() & again.items())
        known.runs = 2
    return (differing() or [""])[0]


class Variables:
    """Sets variables of the environment for a while."""

    def __init__(self, values: dict[str, str | None]) -> None:
        self.values = values

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in self.values}
        self._set(self.values)

    def __exit__(self, *reason: object) -> None:
        self._set(self.before)

    @staticmethod
    def _set(values: dict[str, str | None]) -> None:
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
