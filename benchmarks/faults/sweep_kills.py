"""A sweep on a Dask cluster whose processes are killed ends as if nothing had happened.

    python benchmarks/faults/sweep_kills.py [--rounds 200] [--seed 0] [--kills 3]

A round carries a sweep of tiny models out on three workers and kills workers, driver and scheduler
with SIGKILL at random moments; some workers kill themselves as they are about to make a certain
change to a file. What is killed is started again: after the death of the scheduler, when the driver
has said so and ended. In the end every file is compared with those of a sweep on the local engine:
JSON by its contents, tensors bit for bit, without what differs between two such sweeps, such as
seconds and dates. A journal shows what was computed: an epoch, the record of a model or an attack
on it may be computed again only if the process that computed it was killed, or ended with its
scheduler, before it stored it.

Ends with 1 if there is a difference.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import shutil
import tempfile
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import click
import torch
from cluster import Cluster, Computed, repeated
from sigkill import contents, differences, start

__all__ = ["GRID"]

GRID = """
methods = ["cross_entropy", "vib"]
betas = [0.01, 0.1]
seeds = 4
members_per_run = 2
train_images = 200

[network]
encoder = [8]
bottleneck = 2
decoder = []

[train]
epochs = 6
checkpoint_seconds = 0.0

[evaluate]
information_samples = 50

[attacks.fgsm]
eps = [0.1, 0.2]
images = 20
"""
_IMPORTED = ("distributed", "narrows.sweeps", "torch._dynamo")  # before processes are forked
_VICTIMS = ("worker", "worker", "driver", "scheduler")


class Undisturbed(NamedTuple):
    """Sweeps in which nothing is killed.

    Attributes:
        values: of every file.
        passing: places of what differs between two sweeps.
        seconds: of one on the cluster.
        changes: to files, by a worker.
    """

    values: dict[str, Any]
    passing: set[str]
    seconds: float
    changes: int


def prepare(folder: Path) -> Path:
    """A new folder with the grid."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "grid.toml").write_text(GRID)
    return folder


def undisturbed(root: Path) -> Undisturbed:
    """What comes of two sweeps on this machine, and how long one on a cluster takes.

    Raises:
        ClickException: if one of them fails, or if tensors differ.
    """
    words, found, changes = ["sweep", "grid.toml", "--out", "runs", "--quiet"], [], 0
    for attempt in range(2):
        folder = prepare(root / f"local-{attempt}")
        end = start(words, folder, None)
        if end.code:
            raise click.ClickException(f"it ended with {end.code}: {(folder / 'log').read_text()}")
        changes = end.changes
        found.append(contents(folder, ("runs",)))
        time.sleep(1.1 if attempt == 0 else 0)  # so that dates differ, which count seconds
    passing = set(differences(*found))
    if tensors := [place for place in passing if "#" in place]:
        raise click.ClickException(f"the sweep is not the same twice: {tensors[0]}")
    known = Undisturbed(found[0], passing, 0.0, max(1, changes // 3))
    began = time.monotonic()
    if faults := round_of(known, Random(0), root / "here", kills=0)[0]:
        raise click.ClickException(f"the sweep differs on a cluster: {'; '.join(faults[:3])}")
    return known._replace(seconds=time.monotonic() - began)


def round_of(
    known: Undisturbed, rng: Random, folder: Path, kills: int
) -> tuple[list[str], Counter[str]]:
    """One round: what is wrong at its end, and what was killed."""
    cluster = Cluster(prepare(folder))
    counts: Counter[str] = Counter()
    try:
        last = rng.randint(1, known.changes) if kills and rng.random() < 0.5 else None
        cluster.start(last)
        for _ in range(rng.randint(1, kills) if kills else 0):
            cluster.driver.join(rng.uniform(0, 0.9 * known.seconds))
            if not cluster.driver.is_alive():
                break
            victim = rng.choice(_VICTIMS)
            counts[victim] += 1
            if fault := cluster.kill(victim, rng.randrange(cluster.count)):
                return [fault], counts
        fault = cluster.end()
        computed, dead = cluster.computed(), cluster.killed | cluster.ended
        counts["worker"] += len(cluster.killed) - counts.total()  # those that killed themselves
    finally:
        cluster.close()
    return ([fault] if fault else []) + _wrong(known, folder, computed, dead), counts


def _wrong(known: Undisturbed, folder: Path, computed: list[Computed], dead: set[int]) -> list[str]:
    left = [f"left behind: {path.name}" for path in folder.rglob("runs/**/.*.tmp")]
    values = contents(folder, ("runs",))
    changed = [place for place in differences(known.values, values) if place not in known.passing]
    return [*left, *changed, *repeated(computed, dead)]


@click.command()
@click.option("--rounds", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option("--first", default=0, show_default=True, help="Number of the first round.")
@click.option("--kills", default=3, show_default=True, help="At most, in a round.")
def main(rounds: int, seed: int, first: int, kills: int) -> None:
    """Kill the processes of sweeps and compare what comes of them in the end."""
    torch.set_num_threads(1)
    for module in _IMPORTED:
        import_module(module)

    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="narrows-sweeps-") as top:
        root = Path(top).resolve()
        known = undisturbed(root)
        click.echo(f"{known.seconds:.1f} s on the cluster; {len(known.values)} values compared")
        for number in range(first, first + rounds):
            faults, counts = round_of(known, Random(f"{seed}/{number}"), root / "here", kills)
            total.update(counts, rounds=1, wrong=bool(faults))
            for fault in faults[:5]:
                click.echo(f"round {number}, {dict(counts)}: {fault}")
    click.echo(
        "| rounds | workers, drivers, schedulers killed | rounds that differ |\n|---|---|---|"
    )
    killed = ", ".join(str(total[name]) for name in ("worker", "driver", "scheduler"))
    click.echo(f"| {total['rounds']} | {killed} | {total['wrong']} |")
    raise SystemExit(bool(total["wrong"]))


if __name__ == "__main__":
    main()
