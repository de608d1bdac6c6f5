"""Processes that carry mutations out, one after another, each watched from outside.

A worker is forked from this process, which has imported everything and computed nothing. What a
mutation does to its worker ends with it: one that crashes, or hangs where Python cannot interrupt
it, is named, and another worker goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["FORK", "Done", "work"]

_LONGEST = 400.0  # seconds that a worker may be silent
_LIFE = 400  # mutations of one worker: what leaks does not add up
_ROOM = 3 * 2**30  # bytes of memory beyond what a worker starts with
FORK = multiprocessing.get_context("fork")

Task = Callable[[str, Path], dict[str, Any]]


class Done(NamedTuple):
    """A mutation that has been carried out, and what came of it."""

    name: str
    result: dict[str, Any]


def _serve(task: Task, pipe: Connection, folder: Path) -> None:
    """The loop of a worker."""
    folder.mkdir(parents=True)
    (folder / "tmp").mkdir()
    tempfile.tempdir = str(folder / "tmp")
    proxy = "http://127.0.0.1:9"
    os.environ.update(TMPDIR=tempfile.tempdir, http_proxy=proxy, https_proxy=proxy, no_proxy="")
    sys.dont_write_bytecode = True
    # What can be written to, not what is reserved: the engine that draws reserves without end.
    size = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (size + _ROOM, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 2)  # what a crash prints, not what a command does
    for name in iter(pipe.recv, None):
        pipe.send(task(name, folder / "here"))


class _Worker:
    def __init__(self, task: Task, root: Path, number: int) -> None:
        self.pipe, other = FORK.Pipe()
        self.folder = root / f"worker-{number}"
        self.process = FORK.Process(target=_serve, args=(task, other, self.folder), daemon=True)
        self.process.start()
        other.close()
        self.name, self.count, self.since = "", 0, 0.0

    def give(self, name: str) -> None:
        self.name, self.count, self.since = name, self.count + 1, time.monotonic()
        self.pipe.send(name)

    def result(self) -> dict[str, Any] | None:
        """What it has found, or how it died; None while it works."""
        try:
            if self.pipe.poll():
                return self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            code = self.process.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            log = (self.folder / "log").read_text("utf-8", "replace").strip()
            return {"fault": f"crash: the process ended with {name}", "text": log[-300:]}
        if time.monotonic() - self.since > _LONGEST:
            return {"fault": f"hang: silent for {_LONGEST:.0f} s"}
        return None

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def work(task: Task, names: Sequence[str], root: Path, count: int) -> Iterator[Done]:
    """Carry out `task(name, folder)` of every name, `count` at a time, in no certain order.

    A task that kills its worker has the result `{"fault": ...}`.
    """
    left, started = list(reversed(names)), 0
    busy: list[_Worker] = []
    try:
        while left or busy:
            while left and len(busy) < count:
                started += 1
                busy.append(_Worker(task, root, started))
                busy[-1].give(left.pop())
            wait([worker.pipe for worker in busy], timeout=1.0)
            for worker in list(busy):
                if (result := worker.result()) is None:
                    continue
                yield Done(worker.name, result)
                if left and worker.count < _LIFE and worker.process.is_alive():
                    worker.give(left.pop())
                else:
                    worker.end()
                    busy.remove(worker)
    finally:
        for worker in busy:
            worker.end()
