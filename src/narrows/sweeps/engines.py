"""Engines that carry out the units of a sweep: this process, or the workers of a Dask cluster.

A unit looks at its folder first, so an engine may call it again after a worker or the driver died:
what was finished is not repeated. Units are handed out a few at a time; no list of all is built.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from narrows.errors import ConfigError, unknown_name
from narrows.runs import Progress
from narrows.runs.environment import current_environment
from narrows.runs.files import make_folder
from narrows.sweeps.grid import Sweep, Unit
from narrows.sweeps.units import UnitResult, carry_out_unit

__all__ = ["ENGINES", "carry_out_sweep"]

ENGINES = ("local", "dask")
_SECONDS = 10  # to wait for a scheduler, and for its first worker
_RETRIES = 5
_DASK = "distributed"
_ON = "leave --engine and --address out to continue on this machine; what is finished is kept"


def carry_out_sweep(
    sweep: Sweep,
    out: str | Path,
    engine: str = "local",
    *,
    address: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[UnitResult]:
    """Carry out every unit, and yield the results as they come.

    Args:
        sweep: the grid.
        out: folder of the runs; for workers on several machines it must be shared by them.
        engine: `"local"` or `"dask"`.
        address: of a Dask scheduler, such as `tcp://host:8786`; `None` for a cluster of processes
            on this machine.
        workers: number of these processes; `None` for one per core.
        progress: where progress is shown, of the local engine in detail.

    Raises:
        ConfigError: for an engine that is unknown or not installed, a scheduler that does not
            answer, or workers that run another version.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if engine == "local" and (address is not None or workers is not None):
        raise ConfigError("--address and --workers belong to --engine dask")
    progress = progress or Progress()
    folder = make_folder(Path(out)).resolve()
    if engine == "local":
        results = (carry_out_unit(unit, folder, progress) for unit in sweep.units())
    else:
        results = _on_cluster(sweep, folder, address, workers)
    for done, result in enumerate(results, start=1):
        state = result.error or f"{result.members} models, {result.path}"
        progress.note(f"{done} of {sweep.runs}: {result.label}: {state}")
        yield result


def _on_cluster(
    sweep: Sweep, out: Path, address: str | None, workers: int | None
) -> Iterator[UnitResult]:
    with ExitStack() as stack:
        client = _connect(stack, address, workers)
        _check_workers(client, out)
        slots = len(client.scheduler_info(n_workers=-1)["workers"])
        units = sweep.units()
        labels = {}

        def submit(unit: Unit) -> Any:
            future = client.submit(
                carry_out_unit, unit, str(out), pure=False, retries=_RETRIES, **_resources(client)
            )
            labels[future.key] = unit.label
            return future

        running = import_module(_DASK).as_completed(
            [submit(unit) for unit in itertools.islice(units, 2 * slots)]
        )
        for future in running:
            label = labels.pop(future.key)
            if future.status == "finished":
                yield future.result()
            else:
                reason = f"{type(error).__name__}: {error}" if (error := future.exception()) else ""
                yield UnitResult(label, None, error=" ".join(reason.split()) or "was cancelled")
            if (unit := next(units, None)) is not None:
                running.add(submit(unit))


def _connect(stack: ExitStack, address: str | None, workers: int | None) -> Any:
    """A client of a cluster, closed with the stack."""
    try:
        distributed, config = import_module(_DASK), import_module("dask.config")
    except ImportError as error:
        raise ConfigError(
            f"the engine dask is not installed; pip install 'narrows[dask]', or {_ON}"
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    stack.enter_context(config.set({"distributed.scheduler.allowed-failures": _RETRIES}))
    if address is None:
        settings: dict[str, Any] = {"dashboard_address": None, "resources": {"slot": 1}}
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
    for worker, there in client.run(_versions, str(out)).items():
        for name, value in here.items():
            if there[name] != value:
                raise ConfigError(
                    f"worker {worker} has {name} {there[name]}, this process {value}: its results "
                    f"would not be comparable; bring both to one state, or {_ON}"
                )


def _versions(out: str) -> dict[str, str | None]:
    now = current_environment("cpu")
    return {
        "narrows": now.narrows,
        "torch": now.torch,
        "commit": now.git_commit,
        "folder": out if os.path.isdir(out) else "not there",
    }


def _resources(client: Any) -> dict[str, Any]:
    """One slot a unit, where the workers have slots: a worker then takes one unit at a time."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    has_slots = all("slot" in worker.get("resources", {}) for worker in workers)
    return {"resources": {"slot": 1}} if has_slots and workers else {}
