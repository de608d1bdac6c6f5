"""Smallest perturbations beside other libraries: the same model, the same images, one run.

    python benchmarks/minimal_norm.py --out minimal_norm.json

Carlini-Wagner (5 searches of 200 steps), DDN (200 steps) and FAB (100 steps, one restart, Linf and
L2, untargeted) on the CNN and the first test images of `benchmarks/attacks.py`. A peer that is not
installed is left out and named: `pip install torchattacks foolbox adv-lib pyautoattack`.
Repetitions of all peers take turns; the first call of each, on 32 images, is not timed.

A distance counts only where the returned image is misclassified by one and the same model call; the
median is that of all images that were correct, an image that was not fooled counting as infinitely
far. torchattacks' Carlini-Wagner has no search over c: its row is one descent at c = 1.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import importlib.util
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from _timing import save
from _torchvision import make_importable
from torch import Tensor, nn

from attacks import train
from narrows.attacks import DDN, FAB, CarliniWagner
from narrows.attacks import norms as geometry
from narrows.data import load
from narrows.types import Norm

Run = Callable[[Tensor, Tensor], Tensor]
SEARCHES, STEPS, PROJECTIONS = 5, 200, 100
MODULES = {
    "torchattacks": "torchattacks",
    "foolbox": "foolbox",
    "adversarial-library": "adv_lib",
    "autoattack": "pyautoattack",
}


def carlini_wagners(model: nn.Module, found: set[str]) -> dict[str, Run]:
    ours = CarliniWagner(steps=STEPS, searches=SEARCHES)
    runs: dict[str, Run] = {"narrows": lambda x, y: ours(model, x, y).x_adv}
    if "adversarial-library" in found:
        from adv_lib.attacks import carlini_wagner_l2

        runs["adversarial-library"] = lambda x, y: carlini_wagner_l2(
            model, x, y, binary_search_steps=SEARCHES, max_iterations=STEPS
        )
    if "foolbox" in found:
        import foolbox

        attack = foolbox.attacks.L2CarliniWagnerAttack(SEARCHES, STEPS)
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
        runs["foolbox"] = lambda x, y: attack(wrapped, x, y, epsilons=None)[1]
    if "torchattacks" in found:
        import torchattacks

        runs["torchattacks, c = 1"] = torchattacks.CW(model, c=1, steps=STEPS)
    return runs


def ddns(model: nn.Module, found: set[str]) -> dict[str, Run]:
    runs: dict[str, Run] = {"narrows": lambda x, y: DDN(steps=STEPS)(model, x, y).x_adv}
    if "adversarial-library" in found:
        from adv_lib.attacks import ddn

        runs["adversarial-library"] = lambda x, y: ddn(model, x, y, steps=STEPS, levels=None)
    if "foolbox" in found:
        import foolbox

        attack = foolbox.attacks.DDNAttack(steps=STEPS)
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
        runs["foolbox"] = lambda x, y: attack(wrapped, x, y, epsilons=None)[1]
    return runs


def fabs(model: nn.Module, found: set[str], norm: Norm) -> dict[str, Run]:
    ours = FAB(norm=norm, steps=PROJECTIONS, restarts=1)
    runs: dict[str, Run] = {"narrows": lambda x, y: ours(model, x, y).x_adv}
    if "adversarial-library" in found:
        from adv_lib.attacks import fab

        order = math.inf if norm == "linf" else 2
        runs["adversarial-library"] = lambda x, y: fab(model, x, y, order, n_iter=PROJECTIONS)
    if "torchattacks" in found:
        import torchattacks

        name = {"linf": "Linf", "l2": "L2"}[norm]
        runs["torchattacks"] = torchattacks.FAB(model, norm=name, eps=1e3, steps=PROJECTIONS)
    if "autoattack" in found:
        from pyautoattack.fab_pt import FABAttack_PT

        name = {"linf": "Linf", "l2": "L2"}[norm]
        attack = FABAttack_PT(
            model, norm=name, n_iter=PROJECTIONS, n_restarts=1, eps=1e3, seed=0, device="cpu"
        )
        runs["autoattack"] = attack.perturb
    return runs


def measure(
    runs: dict[str, Run], model: nn.Module, x: Tensor, y: Tensor, norm: Norm, repetitions: int
) -> dict[str, dict[str, float]]:
    """Median seconds of each library, and how near its images are by one and the same count."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    images: dict[str, Tensor] = {}
    for run in runs.values():
        run(x[:32], y[:32])
    for _ in range(repetitions):
        for name, run in runs.items():
            started = time.perf_counter(), time.process_time()
            images[name] = run(x, y).detach()
            wall[name].append(time.perf_counter() - started[0])
            cpu[name].append(time.process_time() - started[1])
    return {
        name: {
            "wall_s": statistics.median(wall[name]),
            "cpu_s": statistics.median(cpu[name]),
            **quality(model, x, images[name], y, norm),
        }
        for name in runs
    }


def quality(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, norm: Norm) -> dict[str, float]:
    """Share fooled, and distances of all images that were correct."""
    with torch.no_grad():
        correct = model(x).argmax(1) == y
        fooled = (model(x_adv).argmax(1) != y)[correct]
    distance = geometry.size(x_adv - x, norm)[correct].where(fooled, torch.inf)
    return {
        "fooled": fooled.double().mean().item(),
        "median": distance.median().item(),
        "mean_of_fooled": distance[fooled].mean().item(),
    }


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    click.echo(f"\n{title}")
    click.echo(
        f"{'':22}{'wall s':>9}{'CPU s':>9}{'x ours':>9}{'fooled %':>10}{'median':>9}{'mean':>9}"
    )
    ours = table["narrows"]
    for name, row in table.items():
        click.echo(
            f"{name:22}{row['wall_s']:9.2f}{row['cpu_s']:9.2f}{row['cpu_s'] / ours['cpu_s']:9.2f}"
            f"{100 * row['fooled']:10.2f}{row['median']:9.4f}{row['mean_of_fooled']:9.4f}"
        )


@click.command(help=__doc__)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file to write.")
@click.option("--images", default=256, show_default=True, help="Test images to attack.")
@click.option("--repetitions", default=1, show_default=True, help="Timed runs of each.")
@click.option("--epochs", default=None, type=int, help="Of training; 3 on MNIST, 60 on digits.")
@click.option("--threads", default=1, show_default=True, help="Of PyTorch.")
def main(out: Path | None, images: int, repetitions: int, epochs: int | None, threads: int) -> None:
    torch.set_num_threads(threads)
    make_importable()
    found = {name for name, module in MODULES.items() if importlib.util.find_spec(module)}
    for name in sorted(set(MODULES) - found):
        click.echo(f"{name} is not installed: left out")
    data = "mnist" if os.environ.get("NARROWS_DATA") else "digits"
    splits = load(data)
    model = train(splits, epochs or (3 if data == "mnist" else 60)).requires_grad_(False)
    x, y = splits.test.batch(slice(0, images))
    report: dict[str, Any] = {"data": data, "images": len(x)}
    contests: list[tuple[str, Norm, dict[str, Run]]] = [
        ("carlini_wagner", "l2", carlini_wagners(model, found)),
        ("ddn", "l2", ddns(model, found)),
        ("fab_linf", "linf", fabs(model, found, "linf")),
        ("fab_l2", "l2", fabs(model, found, "l2")),
    ]
    for title, norm, runs in contests:
        report[title] = measure(runs, model, x, y, norm, repetitions)
        show(f"{title}, {data}, {len(x)} images", report[title])
    save(out, report)


if __name__ == "__main__":
    main()
