"""A `narrows` process with its own environment, streams, rights and accidents.

It is forked from this one, which has imported everything, and behaves as one that was started from
a shell: its standard streams are files, pipes, terminals or closed, and what it leaves in their
buffers is flushed at its end, where the interpreter exits with 120 if that fails.
"""

from __future__ import annotations

import io
import os
import pty
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ground as material

__all__ = ["Changing", "Ended", "Failing", "Process"]

CHANGES = ("os.rename", "os.mkdir", "os.remove")
Accident = Callable[[str, tuple[Any, ...]], None]


@dataclass
class Ended:
    """How a process ended: exit code or minus the signal, what it printed, and where it ran."""

    code: int
    out: str
    err: str
    folder: Path
    seconds: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Process:
    """What is run, and how.

    Attributes:
        words: of the command line.
        folder: that it runs in.
        environment: variables; None for one that is taken away.
        encoding: of the standard streams.
        out: what stdout is: "file", "closed", "full" (/dev/full), "head" (a pipe whose reader
            closes it after the first bytes), "terminal".
        err: what stderr is: "file", "closed", "full".
        accident: called at each audit event of Python; it may raise, or send signals.
        user: number of the user whose rights it has; None for the present one.
        tag: tells the files of its streams apart from those of another process.
    """

    words: list[str]
    folder: Path
    environment: dict[str, str | None] = field(default_factory=dict)
    encoding: str = "utf-8"
    out: str = "file"
    err: str = "file"
    accident: Accident | None = None
    user: int | None = None
    tag: str = ""

    def start(self) -> int:
        """Fork it; the number of the process."""
        self._reader, writer = _pipe(self.out)
        child = os.fork()
        if child == 0:
            self._become(writer)
        if writer is not None:
            os.close(writer)
        return child

    def run(self, seconds: float = 300.0) -> Ended:
        """Run it to its end; after so many seconds it is killed."""
        began = time.monotonic()
        return self.finish(self.start(), began, seconds)

    def finish(self, child: int, began: float, seconds: float = 300.0) -> Ended:
        """Wait for a process that was started."""
        out = self._read(began + seconds)
        while not _over(child):
            if time.monotonic() - began > seconds:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.002)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        printed = {name: self._printed(name) for name in ("out", "err")}
        passed = time.monotonic() - began
        ended = Ended(code, out or printed["out"], printed["err"], self.folder, passed)
        ended.notes["silent"] = self.err != "file"
        return ended

    def _printed(self, name: str) -> str:
        path = self._stream(name)
        return path.read_bytes().decode("utf-8", "backslashreplace") if path.exists() else ""

    def _stream(self, name: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}{self.tag}.{name}")

    def _read(self, until: float) -> str:
        """What comes through a pipe or a terminal; of a pipe, only its beginning is read."""
        if self._reader is None:
            return ""
        parts = []
        while time.monotonic() < until:
            try:
                part = os.read(self._reader, 100 if self.out == "head" else 65536)
            except OSError:  # the other end of a terminal is closed
                break
            parts.append(part)
            if not part or self.out == "head":
                break
        os.close(self._reader)
        return b"".join(parts).decode("utf-8", "backslashreplace")

    def _become(self, writer: int | None) -> None:
        code = 1
        try:
            self._set_streams(writer)
            os.chdir(self.folder)
            for name, value in self.environment.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
            if self.user is not None:
                os.setgid(self.user)
                os.setuid(self.user)
            with material.on_event(self.accident or _nothing):
                code = material.command_line(self.words, quiet=False)
        except BaseException:  # as the interpreter shows what it does not catch
            if sys.stderr is not None:
                traceback.print_exc()
        finally:
            os._exit(_flushed(code))

    def _set_streams(self, writer: int | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, (name, kind) in enumerate((("out", self.out), ("err", self.err)), start=1):
            if kind == "closed":
                os.close(number)
                setattr(sys, f"std{name}", None)
                setattr(sys, f"__std{name}__", None)
                continue
            target = writer if name == "out" and writer is not None else None
            if target is None:
                where = "/dev/full" if kind == "full" else self._stream(name)
                target = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(target, number)
            raw = open(number, "wb", closefd=False)  # noqa: SIM115
            errors = "strict" if name == "out" else "backslashreplace"
            lines = name == "err" or kind == "terminal"
            stream = io.TextIOWrapper(raw, self.encoding, errors, line_buffering=lines)
            setattr(sys, f"std{name}", stream)
            setattr(sys, f"__std{name}__", stream)


def _nothing(event: str, arguments: tuple[Any, ...]) -> None:
    pass


def _pipe(kind: str) -> tuple[int | None, int | None]:
    if kind == "head":
        return os.pipe()
    return pty.openpty() if kind == "terminal" else (None, None)


def _over(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _flushed(code: int) -> int:
    """The exit code after the interpreter has flushed the standard streams."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError):
            return 120
    return code


class Changing:
    """At the `number`-th change to a file: sends a signal to the process itself."""

    def __init__(self, number: int, signum: int) -> None:
        self.left, self.signum = number, signum

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count the event."""
        if event in CHANGES:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.signum)


class Failing:
    """From the `number`-th change to a file on, each fails with that error number.

    Writing to a file fails where it is opened, which is where a full disk is seen last.
    """

    def __init__(self, number: int, error: int, below: Path, reading: bool = False) -> None:
        self.left, self.error, self.below, self.reading = number, error, str(below), reading

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Let the event fail, if it is one of those."""
        if event == "open":
            path, _, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if isinstance(path, int) or writes == self.reading:
                return
        elif event in CHANGES and not self.reading:
            path = arguments[0]
        else:
            return
        if os.path.abspath(os.fsdecode(path)).startswith(self.below):
            self.left -= 1
            if self.left <= 0:
                raise OSError(self.error, os.strerror(self.error), str(path))
