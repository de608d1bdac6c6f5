"""A Dask cluster of forked processes that can be killed, and a journal of what its workers compute.

All processes are forked from this one, which has imported everything, so that a cluster starts in a
fraction of a second. A worker that is killed is replaced, as a job scheduler would replace it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import ground as material
from workers import FORK

__all__ = ["Cluster", "Computed", "repeated"]

_CHANGES = ("os.rename", "os.mkdir", "os.remove")
_PATIENCE = 60.0  # seconds that processes have to end by themselves


class Computed(NamedTuple):
    """An epoch, the record of a model or an attack on it, before it is stored.

    Attributes:
        pid: of the worker.
        item: what was computed, by the place where it is stored.
    """

    pid: int
    item: str


class Cluster:
    """A scheduler, workers and the driver of one sweep.

    Args:
        folder: where the sweep runs; it holds `grid.toml`.
        workers: number of workers.
    """

    def __init__(self, folder: Path, workers: int = 3) -> None:
        self.folder, self.count = folder, workers
        self.address = f"tcp://127.0.0.1:{_free_port()}"
        self.journal = folder / "journal"
        self.killed: set[int] = set()
        self.ended: set[int] = set()
        self._made: list[BaseProcess] = []

    def start(self, last: int | None = None) -> None:
        """Start scheduler, workers and driver.

        Args:
            last: number of the change to a file at which the first worker kills itself.
        """
        self.scheduler = self._fork(_schedule, self.address)
        self.workers = [self._worker(last if index == 0 else None) for index in range(self.count)]
        self.drive()

    def drive(self) -> None:
        """Start the driver."""
        words = ["sweep", "grid.toml", "--out", "runs", "--quiet"]
        words += ["--engine", "dask", "--address", self.address]
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        self.driver = self._fork(_command, words, self.folder, log)

    def kill(self, victim: str, index: int) -> str:
        """Kill one of them, and start what takes its place; what is wrong then, or nothing."""
        self._replace_dead()
        if victim == "worker":
            self._kill(self.workers[index])
            self.workers[index] = self._worker()
        elif victim == "driver":
            self._kill(self.driver)
            self.drive()
        else:
            self._kill(self.scheduler)
            self.ended |= {worker.pid or 0 for worker in self.workers}  # they end with it
            if fault := self._gives_up():
                return fault
            self.start()
        return ""

    def end(self) -> str:
        """Wait for the driver to end; what is wrong with its end, or nothing."""
        deadline = time.monotonic() + 2 * _PATIENCE
        while self.driver.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
            self._replace_dead()
        self._replace_dead()
        if self.driver.exitcode is None:
            return f"the driver has not ended: {self._printed()[-300:]}"
        return "" if self.driver.exitcode == 0 else f"the driver ended with {self._printed()}"

    def close(self) -> None:
        """Kill what is left of it."""
        for process in self._made:
            if process.is_alive():
                process.kill()
            process.join()

    def computed(self) -> list[Computed]:
        """The journal."""
        if not self.journal.exists():
            return []
        return [Computed(*json.loads(line)) for line in self.journal.read_text().splitlines()]

    def _replace_dead(self) -> None:
        """Note the workers that have killed themselves, and start others."""
        for index, worker in enumerate(self.workers):
            if worker.exitcode == -signal.SIGKILL:
                self.killed.add(worker.pid or 0)
                self.workers[index] = self._worker()

    def _worker(self, last: int | None = None) -> BaseProcess:
        return self._fork(_work, self.address, self.folder, self.journal, last)

    def _fork(self, target: Callable[..., None], *args: Any) -> BaseProcess:
        process = FORK.Process(target=target, args=args)
        process.start()
        self._made.append(process)
        return process

    def _kill(self, process: BaseProcess) -> None:
        process.kill()
        process.join()
        self.killed.add(process.pid or 0)

    def _gives_up(self) -> str:
        """Whether the driver notices that its scheduler is gone, and says so in one line."""
        self.driver.join(_PATIENCE)
        lines = self._printed().splitlines()
        if self.driver.exitcode is None:
            return "the driver does not end without a scheduler"
        one_line = len(lines) == 1 and "scheduler" in lines[0]
        if self.driver.exitcode == 0 or (self.driver.exitcode == 2 and one_line):
            return ""
        return f"without a scheduler, the driver ended with {self.driver.exitcode}: {lines}"

    def _printed(self) -> str:
        log = self.folder / "log"
        return log.read_text("utf-8", "replace") if log.exists() else ""


def repeated(computed: Sequence[Computed], dead: set[int]) -> list[str]:
    """What was computed twice without need.

    An item may be computed again only if the process that computed it was killed, or ended with
    its scheduler, before it computed anything else: it was in hand, and not stored.
    """
    last = {entry.pid: number for number, entry in enumerate(computed)}
    seen: dict[str, int] = {}
    needless = []
    for number, (_, item) in enumerate(computed):
        if (before := seen.get(item)) is not None:
            pid = computed[before].pid
            if pid not in dead or last[pid] != before:
                needless.append(f"computed twice: {item}")
        seen[item] = number
    return needless


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _schedule(address: str) -> None:
    from distributed import Scheduler

    async def serve() -> None:
        port = int(address.rpartition(":")[2])
        options = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
        async with Scheduler(host="127.0.0.1", port=port, **options) as scheduler:
            await scheduler.finished()

    _silently(lambda: asyncio.run(serve()))


def _work(address: str, folder: Path, journal: Path, last: int | None) -> None:
    from distributed import Worker

    made = 0

    def note(event: str, arguments: tuple) -> None:
        nonlocal made
        if event in _CHANGES:
            made += 1
            if made == last:
                os.kill(os.getpid(), signal.SIGKILL)

    async def serve() -> None:
        options = {"resources": {"slot": 1}, "memory_limit": 0, "local_directory": folder / "dask"}
        async with Worker(address, nthreads=1, dashboard=False, **options) as worker:
            await worker.finished()

    _keep_journal(journal)
    with material.on_event(note):
        _silently(lambda: asyncio.run(serve()))


def _silently(serve: Callable[[], None]) -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    import logging

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with suppress(OSError, TimeoutError, asyncio.CancelledError):  # the others were killed
        serve()


def _command(words: list[str], folder: Path, log: Path) -> None:
    os.chdir(folder)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(target, 2)
    for name, number in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115
    sys.exit(material.command_line(words, quiet=False))


def _keep_journal(journal: Path) -> None:
    """Note each epoch, record and attack in this process, after it is computed."""
    engine = import_module("narrows.runs.engine")
    attacks = import_module("narrows.experiments.member_attacks")
    trainer = import_module("narrows.training.trainer").Trainer
    file = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    fit, run_epoch = engine.fit, trainer.run_epoch
    here = ""

    def note(item: str) -> None:
        os.write(file, (json.dumps([os.getpid(), item]) + "\n").encode())

    def noted_fit(*args: Any, checkpoint: Path, **options: Any) -> Any:
        nonlocal here
        here = str(checkpoint.parent)
        return fit(*args, checkpoint=checkpoint, **options)

    def noted_epoch(self: Any, *args: Any) -> Any:
        record = run_epoch(self, *args)
        note(f"{here}, epoch {record.epoch}")
        return record

    def noted_write(module: Any, noted: str) -> None:
        write = module.write_json

        def write_json(path: Path, kind: str, content: Any) -> None:
            if kind == noted:
                note(str(path))
            write(path, kind, content)

        module.write_json = write_json

    engine.fit, trainer.run_epoch = noted_fit, noted_epoch
    noted_write(engine, "record of a model")
    noted_write(attacks, "attack on a model")
