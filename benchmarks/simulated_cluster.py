"""Measure what a sweep costs beside its models, and simulate 100,000 models on 1,000 workers.

    python benchmarks/simulated_cluster.py [--units 2000] [--runs 1000] [--out simulated.json]

Measured, in CPU time: scheduler and driver per unit, on a real Dask cluster whose units do nothing;
a worker per run beside its training steps; files and changes to files per run; the index of many
stored runs per run. The simulation hands units to workers as the driver does, two to each. Every
completed unit passes scheduler and driver, one after another, before its worker gets another one.
"""

from __future__ import annotations

import argparse
import heapq
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _timing import save
from distributed import Client

from narrows.runs import Progress, carry_out
from narrows.stored.index import list_runs
from narrows.sweeps import Sweep, UnitResult, cluster
from narrows.sweeps.queue import UnitQueue
from narrows.training import Trainer

BASE = {
    "network": {"encoder": [8], "bottleneck": 2, "decoder": []},
    "train": {"epochs": 1},
    "evaluate": {"attack": False, "information_samples": 50},
}
WORKERS, MODELS = 1000, 100_000
PER_RUN = (1, 8, 64)
SECONDS = (1, 10, 60, 600)  # of one model
_CHANGES = ("os.rename", "os.mkdir", "os.remove")


class Costs(NamedTuple):
    """CPU seconds, and counts, of one unit.

    Attributes:
        scheduler: seconds of the scheduler.
        driver: seconds of the driver.
        worker: seconds of a worker, beside training.
        changes: to files.
        files: that stay.
        index: seconds of reading the run for the first time.
        indexed: seconds of finding it unchanged.
    """

    scheduler: float
    driver: float
    worker: float
    changes: int
    files: int
    index: float
    indexed: float


def nothing(unit: Any, out: str, versions: dict[str, Any]) -> UnitResult:
    """Stands for the work on a unit."""
    return UnitResult(unit.label, None)


def measured_cluster(units: int, folder: Path) -> tuple[float, float]:
    """Seconds of scheduler and driver per unit, each a process of its own."""
    cluster._carry_out = nothing
    sweep = Sweep(BASE, ["cross_entropy"], seeds=units, members_per_run=1)
    file = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    where = ["--scheduler-file", str(file)]
    words = [*where, "--no-nanny", "--nthreads", "1", "--resources", "slot=1", "--no-dashboard"]
    with ExitStack() as stack:
        for command in (
            ["dask_scheduler", *where, "--port", "0", "--dashboard-address", "127.0.0.1:0"],
            *[["dask_worker", *words]] * 2,
        ):
            line = [sys.executable, "-m", f"distributed.cli.{command[0]}", *command[1:]]
            stack.callback(subprocess.Popen(line, **quiet).kill)
        client = stack.enter_context(Client(scheduler_file=str(file), timeout=60))
        client.wait_for_workers(2, timeout=60)
        results = cluster._results(client, UnitQueue(sweep.units()), Path.cwd())
        for _ in range(50):  # connections are made
            next(results)
        before, started = client.run_on_scheduler(time.process_time), time.process_time()
        done = sum(1 for _ in results)
        driver = time.process_time() - started
        return (client.run_on_scheduler(time.process_time) - before) / done, driver / done


def measured_run(folder: Path) -> tuple[float, int, int, Path]:
    """Seconds of a run beside its training epochs, changes to files, files, and its folder."""
    changes = 0

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        changes += event in _CHANGES

    training, run_epoch = 0.0, Trainer.run_epoch

    def timed_epoch(trainer: Trainer, *args: Any) -> Any:
        nonlocal training
        started = time.process_time()
        record = run_epoch(trainer, *args)
        training += time.process_time() - started
        return record

    (unit,) = Sweep(BASE, ["cross_entropy"], seeds=1).units()
    carry_out(unit.config(), folder / "first", Progress())  # what is imported once
    sys.addaudithook(note)
    Trainer.run_epoch = timed_epoch
    started, changes = time.process_time(), 0
    run = carry_out(unit.config(), folder / "second", Progress())
    seconds, made = time.process_time() - started, changes
    files = sum(path.is_file() for path in run.path.rglob("*"))
    return seconds - training, made, files, run.path


def measured_index(run: Path, folder: Path, runs: int) -> tuple[float, float]:
    """Seconds per stored run of listing them without an index, and with one."""
    for number in range(runs):
        copy = folder / f"digits-{number:010x}"
        copy.mkdir(parents=True)
        for name in ("config.json", "done.json", "summary.json"):
            shutil.copyfile(run / name, copy / name)
    seconds = []
    for _ in range(2):
        started = time.process_time()
        list_runs(folder)
        seconds.append((time.process_time() - started) / runs)
    return seconds[0], seconds[1]


def simulated(costs: Costs, per_run: int, each: float) -> tuple[float, float]:
    """Share of the time in which workers train, and units per second, of the whole sweep.

    Args:
        costs: measured ones.
        per_run: models of one unit.
        each: seconds of one model.
    """
    units = -(-MODELS // per_run)
    work = per_run * each + costs.worker
    scheduler = driver = now = 0.0
    ends: list[tuple[float, int]] = []  # of units, and their workers
    ready: list[list[float]] = [[] for _ in range(WORKERS)]  # when the next units are there
    for index in range(min(units, 2 * WORKERS)):
        driver += costs.driver
        scheduler = max(scheduler, driver) + costs.scheduler
        if index < WORKERS:
            heapq.heappush(ends, (scheduler + work, index))
        else:
            ready[index - WORKERS].append(scheduler)
    left = units - min(units, 2 * WORKERS)
    while ends:
        now, worker = heapq.heappop(ends)
        if left:
            left -= 1
            scheduler = max(scheduler, now) + costs.scheduler
            driver = max(driver, scheduler) + costs.driver
            ready[worker].append(driver)
        if ready[worker]:
            heapq.heappush(ends, (max(now, ready[worker].pop(0)) + work, worker))
    return MODELS * each / (WORKERS * now), units / now


def show(costs: Costs) -> list[dict[str, float]]:
    """Print the costs and the simulated sweeps; the latter as rows."""
    print(
        f"per unit: scheduler {1e3 * costs.scheduler:.2f} ms, driver {1e3 * costs.driver:.2f} ms, "
        f"worker {1e3 * costs.worker:.0f} ms, {costs.changes} changes to files, "
        f"{costs.files} files; index {1e3 * costs.index:.2f} ms, {1e3 * costs.indexed:.2f} ms again"
    )
    print(f"units per second at most: {1 / max(costs.scheduler, costs.driver):,.0f}")
    print("| models per run | seconds per model | runs | training | runs/s | changes to files/s |")
    print("|---|---|---|---|---|---|")
    rows = []
    for per_run in PER_RUN:
        runs = -(-MODELS // per_run)
        for each in SECONDS:
            busy, rate = simulated(costs, per_run, each)
            rows.append({"per_run": per_run, "seconds": each, "busy": busy, "rate": rate})
            changes = rate * costs.changes
            print(f"| {per_run} | {each} | {runs:,} | {busy:.0%} | {rate:,.1f} | {changes:,.0f} |")
    for per_run in PER_RUN:
        runs = -(-MODELS // per_run)
        print(
            f"{per_run} models per run: {runs * costs.files:,} files in {runs:,} folders; "
            f"`narrows runs` takes {runs * costs.index:.1f} s, {runs * costs.indexed:.1f} s again"
        )
    return rows


def main() -> None:
    """Measure, simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=2000, help="that do nothing")
    parser.add_argument("--runs", type=int, default=1000, help="in the index")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        worker, changes, files, run = measured_run(Path(place))
        index, indexed = measured_index(run, Path(place) / "many", given.runs)
        scheduler, driver = measured_cluster(given.units, Path(place))
    costs = Costs(scheduler, driver, worker, changes, files, index, indexed)
    save(given.out, {"costs": costs._asdict(), "rows": show(costs)})


if __name__ == "__main__":
    main()
