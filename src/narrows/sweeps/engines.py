"""Engines that carry out the units of a sweep: this process, or the workers of a Dask cluster.

A unit looks at its folder first, so an engine may call it again after a worker or the driver died:
what was finished is not repeated. Units are handed out a few at a time; no list of all is built. A
unit whose folder another process is writing to comes again at the end: that process may be a worker
that an earlier driver has left behind, or another sweep with the same run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from narrows.errors import ConfigError, unknown_name
from narrows.runs import Progress
from narrows.runs.files import make_folder
from narrows.sweeps.cluster import carry_out_on_cluster
from narrows.sweeps.grid import Sweep
from narrows.sweeps.queue import UnitQueue
from narrows.sweeps.units import UnitResult, carry_out_unit

__all__ = ["ENGINES", "carry_out_sweep"]

ENGINES = ("local", "dask")


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
        EngineError: if the scheduler stops, or a worker joins that runs another version.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if engine == "local" and (address is not None or workers is not None):
        raise ConfigError("--address and --workers belong to --engine dask")
    progress = progress or Progress()
    folder = make_folder(Path(out)).resolve()
    units = UnitQueue(sweep.units())
    if engine == "local":
        results = ((unit, carry_out_unit(unit, folder, progress)) for unit in units)
    else:
        results = carry_out_on_cluster(units, folder, address, workers)
    done, waiting = 0, set()
    for unit, result in results:
        if result.in_use:
            units.put_back(unit)
            if unit.label not in waiting:
                progress.note(f"{unit.label}: in use by another process, comes again at the end")
                waiting.add(unit.label)
            continue
        done += 1
        state = result.error or f"{result.members} models, {result.path}"
        if result.other_code:
            state += f"; a part of it was computed by narrows {result.other_code}"
        progress.note(f"{done} of {sweep.runs}: {result.label}: {state}")
        yield result
