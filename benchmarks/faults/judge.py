"""Run `narrows` in this process under watch, and judge how it ended.

A command may end with 0; with 2 and one line on stderr (or click's usage error); or, when it was
interrupted, with 130 and one line. Everything else is a fault:

| fault    | what happened                                                                     |
|----------|-----------------------------------------------------------------------------------|
| raised   | an exception other than SystemExit left `main`                                    |
| code     | another exit code                                                                 |
| lines    | exit code 2 or 130 with no line, several lines, or a traceback on stderr          |
| hang     | it did not end in time, or did not end when it was interrupted                    |
| memory   | it took more than a gigabyte, or it failed because it asked for too much          |
| executed | a planted payload ran, a pickle was opened, or another program was started        |
| outside  | a file outside the working folder was written                                     |
| network  | an address was contacted                                                          |
| accepted | what no computer could do was not refused                                         |
| silent   | damaged records were read without an error, and what came out is not what it was  |
| markup   | a name stands in a page as markup                                                 |
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ground import on_event
from values import MARKS, SENTINEL

from narrows.cli import main
from narrows.errors import NarrowsError

__all__ = ["Limits", "Outcome", "fault_of", "run_call", "run_command"]

_GIGABYTE = 2**30
_PROGRAMS = {"git", "uname"}
PROXY = "127.0.0.1:9"
"""Nothing listens there: with it as the proxy, no download can begin."""


class Hang(BaseException):
    """Raised where an interrupted command has gone on."""


@dataclass
class Limits:
    """How long a command may take, in seconds of its own CPU time and on the clock, and where it
    may write.
    """

    seconds: float = 10.0
    waiting: float = 60.0
    may_be_interrupted: bool = False
    memory: int = _GIGABYTE
    root: Path = field(default_factory=Path.cwd)


@dataclass
class Outcome:
    """What a command did."""

    code: int | str | None = None
    out: str = ""
    err: str = ""
    error: str = ""
    trace: str = ""
    place: str = ""
    interrupted: bool = False
    hung: bool = False
    memory: int = 0
    executed: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    network: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Watch:
    """Notes what a program must not do, by Python's audit events."""

    def __init__(self, outcome: Outcome, root: Path) -> None:
        self.outcome = outcome
        passing = tempfile.gettempdir() + os.sep
        self.allowed = (str(root.resolve()) + os.sep, passing, "/dev/null/", "/proc/self/")

    def __call__(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._wrote(path)
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.symlink"):
            self._wrote(arguments[1 if event == "os.symlink" else 0])
        elif event in ("os.rename", "os.link"):
            self._wrote(arguments[1])
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
            if os.path.basename(str(arguments[0])) not in _PROGRAMS:
                self.outcome.executed.append(f"{event} {arguments[0]!r}")
        elif event == "pickle.find_class":
            self.outcome.executed.append(f"pickle of {arguments[0]}.{arguments[1]}")
        elif event in ("socket.connect", "socket.getaddrinfo"):
            address = arguments[0 if "info" in event else 1]
            if "127.0.0.1" not in str(address):
                self.outcome.network.append(f"{event} {address!r}")

    def _wrote(self, path: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        path = os.path.abspath(os.fsdecode(path))
        if not (path + os.sep).startswith(self.allowed):
            self.outcome.outside.append(path)


@contextmanager
def _timed(limits: Limits, outcome: Outcome) -> Iterator[None]:
    """Interrupt as Ctrl-C does after the limit, and break off 20 seconds later."""

    def ring(signum: int, frame: object) -> None:
        if outcome.interrupted:
            outcome.hung = True
            raise Hang
        outcome.interrupted = True
        signal.setitimer(signal.ITIMER_PROF, 20.0)  # what draws a page cannot be interrupted
        signal.setitimer(signal.ITIMER_REAL, 100.0)
        raise KeyboardInterrupt

    signals = (signal.SIGPROF, signal.SIGALRM)
    before = [signal.signal(number, ring) for number in signals]
    signal.setitimer(signal.ITIMER_PROF, limits.seconds)
    signal.setitimer(signal.ITIMER_REAL, limits.waiting)  # for what waits without computing
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _memory(key: str) -> int:
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"{key}:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


@contextmanager
def _measured(outcome: Outcome) -> Iterator[None]:
    """The memory that the block takes beyond what there was."""
    before = _memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    try:
        yield
    finally:
        outcome.memory = max(0, _memory("VmHWM") - before)


def run_call(call: Callable[[], Any], limits: Limits) -> Outcome:
    """Call anything under watch; what it prints and raises is in the outcome."""
    outcome = Outcome()
    streams = [
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)
        for errors in ("strict", "backslashreplace")
    ]
    before = sys.stdout, sys.stderr
    with warnings.catch_warnings(), _measured(outcome), on_event(Watch(outcome, limits.root)):
        warnings.simplefilter("ignore")
        try:
            sys.stdout, sys.stderr = streams
            with _timed(limits, outcome):
                call()
        except SystemExit as stop:
            outcome.code = 0 if stop.code is None else stop.code
        except Hang:
            outcome.hung = True
        except BaseException as error:
            outcome.error = f"{type(error).__name__}: {error}"[:500]
            outcome.trace = traceback.format_exc()[-20_000:]
            outcome.place = _place(error)
            if isinstance(error, NarrowsError):
                outcome.code = "NarrowsError"
        finally:
            sys.stdout, sys.stderr = before
    outcome.out, outcome.err = (
        stream.buffer.getvalue().decode("utf-8", "backslashreplace") for stream in streams
    )
    if (limits.root / SENTINEL).exists() or Path(SENTINEL).exists():
        outcome.executed.append("a planted payload")
    return outcome


def run_command(words: list[str], limits: Limits) -> Outcome:
    """Run a command line under watch."""
    return run_call(lambda: main(list(words)), limits)


def _place(error: BaseException) -> str:
    """The last line of the library that was running."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if "/narrows/" in frame.filename]
    if not inside:
        return "?"
    return f"{inside[-1].filename.rpartition('/narrows/')[2]}:{inside[-1].lineno}"


def fault_of(outcome: Outcome, limits: Limits, *, command: bool = True) -> str:
    """The name of the fault and what it is, or nothing.

    Args:
        outcome: of the run.
        limits: that it had.
        command: whether it was a command line, not a call of a function, which may return or
            raise a NarrowsError.
    """
    if outcome.executed:
        return f"executed: {outcome.executed[0]}"
    if outcome.outside:
        return f"outside: {outcome.outside[0]}"
    if outcome.network:
        return f"network: {outcome.network[0]}"
    if outcome.hung or (outcome.interrupted and not limits.may_be_interrupted):
        return "hang: interrupted, it went on" if outcome.hung else "hang: not done in time"
    if outcome.error and outcome.code != "NarrowsError":
        return _raised(outcome)
    if outcome.memory > limits.memory:
        return f"memory: {outcome.memory / _GIGABYTE:.1f} GB"
    return _said(outcome) if command else ""


def _raised(outcome: Outcome) -> str:
    name = outcome.error.partition(":")[0]
    too_much = "can't allocate memory", "MemoryError", "bad_alloc", "Storage size calculation"
    kind = "memory" if any(text in outcome.error for text in too_much) else "raised"
    return f"{kind}: {name} at {outcome.place}"


def _said(outcome: Outcome) -> str:
    """What is wrong with the exit code and stderr of a command line."""
    lines = outcome.err.strip().splitlines()
    if "Traceback (most recent call last)" in outcome.err:
        return "lines: a traceback on stderr"
    if outcome.code == 0:
        return ""
    if outcome.code not in (2, 130):
        return f"code: {outcome.code!r}"
    usage = any(line.startswith(("Usage:", "Error:")) for line in lines) and "Error:" in outcome.err
    if not usage and not (len(lines) == 1 and lines[0].startswith("narrows:")):
        return f"lines: {len(lines)} on stderr"
    if outcome.code == 130 and not outcome.interrupted:
        return "code: 130 without an interrupt"
    return ""


def marked_up(folder: Path) -> str:
    """The first page that shows a planted name as markup."""
    for page in folder.rglob("*.html"):
        text = page.read_text("utf-8", "replace")
        for mark in MARKS:
            if mark in text:
                return f"markup: {mark!r} in {page.name}"
    return ""
