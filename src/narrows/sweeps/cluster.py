"""The engine `dask`: units carried out by the workers of a Dask cluster.

Two units per worker are handed out at a time. A unit whose worker dies is given to another one. If
the scheduler stops, the sweep ends, and the same command continues it.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from narrows.errors import ConfigError, EngineError
from narrows.runs.environment import current_environment
from narrows.sweeps.grid import Unit
from narrows.sweeps.queue import UnitQueue
from narrows.sweeps.units import UnitResult, carry_out_unit

__all__ = ["carry_out_on_cluster"]

_SECONDS = 10  # to wait for a scheduler, and for its first worker
_RETRIES = 5
_DASK = "distributed"
_LOGS = (_DASK, "distributed.client")  # Dask sets the level of each
_ON = "leave --engine and --address out to continue on this machine; what is finished is kept"


def carry_out_on_cluster(
    units: UnitQueue, out: Path, address: str | None, workers: int | None
) -> Iterator[tuple[Unit, UnitResult]]:
    """Carry units out, and yield each with its result as they come.

    Args:
        units: those that are left; units that are put back meanwhile come again.
        out: folder of the runs.
        address: of a scheduler; `None` for a cluster of processes on this machine.
        workers: number of these processes.

    Raises:
        ConfigError: if Dask is not installed, or there is no cluster of the same version.
        EngineError: if the scheduler stops, or a worker joins that runs another version.
    """
    with ExitStack() as stack:
        client = _connect(stack, address, workers)
        try:
            _check_workers(client, out)
            yield from _results(client, units, out)
        except (EngineError, ConfigError):
            raise
        except (OSError, TimeoutError) as error:
            raise _stopped(client) from error


def _results(client: Any, units: UnitQueue, out: Path) -> Iterator[tuple[Unit, UnitResult]]:
    slots = len(client.scheduler_info(n_workers=-1)["workers"])
    versions, resources = _versions(str(out)), _resources(client)
    handed_out = {}

    def submit(unit: Unit) -> Any:
        future = client.submit(
            _carry_out, unit, str(out), versions, pure=False, retries=_RETRIES, **resources
        )
        handed_out[future.key] = unit
        return future

    running = import_module(_DASK).as_completed(
        [submit(unit) for unit in itertools.islice(units, 2 * slots)]
    )
    for future in running:
        unit = handed_out.pop(future.key)
        yield unit, _result(client, unit, future)
        if (unit := next(units, None)) is not None:
            running.add(submit(unit))


def _result(client: Any, unit: Unit, future: Any) -> UnitResult:
    """The result of a unit that has ended, however it ended.

    Raises:
        EngineError: if the scheduler has stopped, or the worker has refused the unit.
    """
    if future.status == "finished":
        result = future.result()
        if isinstance(result, str):
            raise EngineError(result)
        return result
    if future.status != "error":
        raise _stopped(client)
    error = future.exception()
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return UnitResult(unit.label, None, error=reason)


def _stopped(client: Any) -> EngineError:
    address = client.scheduler.address if client.scheduler else "its address"
    return EngineError(
        f"the Dask scheduler at {address} has stopped; start it and its workers again and repeat "
        f"the command, or {_ON}"
    )


def _carry_out(unit: Unit, out: str, versions: dict[str, str | None]) -> UnitResult | str:
    """On a worker: the result of a unit, or why it would not be comparable."""
    return _difference("this worker", _versions(out), versions) or carry_out_unit(unit, out)


def _connect(stack: ExitStack, address: str | None, workers: int | None) -> Any:
    """A client of a cluster, closed with the stack."""
    try:
        distributed, config = import_module(_DASK), import_module("dask.config")
    except ImportError as error:
        raise ConfigError(
            f"the engine dask is not installed; pip install 'narrows[dask]', or {_ON}"
        ) from error
    for log in map(logging.getLogger, _LOGS):
        stack.callback(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL)
    stack.enter_context(config.set({"distributed.scheduler.allowed-failures": _RETRIES}))
    if address is None:
        settings: dict[str, Any] = {
            "dashboard_address": None,
            "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},  # 8787 may be in use
            "resources": {"slot": 1},
        }
        count = workers or os.cpu_count() or 1
        cluster = distributed.LocalCluster(count, 1, processes=True, memory_limit=0, **settings)
        stack.enter_context(cluster)
        return stack.enter_context(distributed.Client(cluster, timeout=_SECONDS))
    if workers is not None:
        raise ConfigError(
            "--workers is the number of processes of a cluster on this machine; a scheduler at "
            "--address has its own workers"
        )
    try:
        return stack.enter_context(distributed.Client(address, timeout=_SECONDS))
    except (OSError, ValueError, TimeoutError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {address} within {_SECONDS} s; start one with "
            f"`dask scheduler`, correct --address, or {_ON}"
        ) from error


def _check_workers(client: Any, out: Path) -> None:
    """Refuse a cluster without workers, or with some that would write other results.

    Raises:
        ConfigError: saying which worker, and what it has.
    """
    try:
        client.wait_for_workers(1, timeout=_SECONDS)
    except TimeoutError as error:
        raise ConfigError(
            f"the Dask cluster has had no workers for {_SECONDS} s; start some with "
            f"`dask worker ADDRESS`, or {_ON}"
        ) from error
    here = _versions(str(out))
    for worker, there in client.run(_versions, str(out), on_error="return").items():
        if isinstance(there, OSError):  # the worker has just died
            continue
        if isinstance(there, Exception):
            raise ConfigError(
                f"worker {worker} does not have this version of narrows ({there}); install "
                f"narrows {here['narrows']} there, or {_ON}"
            )
        if difference := _difference(f"worker {worker}", there, here):
            raise ConfigError(difference)


def _difference(
    worker: str, there: dict[str, str | None], here: dict[str, str | None]
) -> str | None:
    """What a worker has that the driver does not have; `None` if they are alike."""
    for name, value in here.items():
        if there[name] != value:
            return (
                f"{worker} has {name} {there[name]}, the driver {value}: its results would not be "
                f"comparable; bring both to one state, or {_ON}"
            )
    return None


@functools.cache  # of the code that is loaded, whatever becomes of its files
def _code() -> dict[str, str | None]:
    now = current_environment("cpu")
    return {"narrows": now.narrows, "torch": now.torch, "commit": now.git_commit}


def _versions(out: str) -> dict[str, str | None]:
    return {**_code(), "folder": out if os.path.isdir(out) else "not there"}


def _resources(client: Any) -> dict[str, Any]:
    """One slot a unit, where the workers have slots: a worker then takes one unit at a time."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    has_slots = all("slot" in worker.get("resources", {}) for worker in workers)
    return {"resources": {"slot": 1}} if has_slots and workers else {}
