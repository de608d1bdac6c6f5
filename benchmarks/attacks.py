"""DeepFool and PGD beside other libraries: the same model, the same images, one run.

    python benchmarks/attacks.py --out attacks.json

trains a small CNN on MNIST if NARROWS_DATA names a folder that holds it, else on the digits inside
the package, and attacks its first test images. A peer that is not installed is left out and named:
`pip install torchattacks foolbox adv-lib`. Repetitions of all peers take turns, so that a noisy
machine troubles them alike; the first call of each is not timed. On a machine that others use
too set OMP_WAIT_POLICY=passive, or threads that wait for each other dominate every figure.

Restarts are counted as each peer offers them: adversarial-library's own, torchattacks' MultiAttack,
which drops fooled images between restarts, and for foolbox, whose own repetition attacks fooled
images again, a loop that drops them too.

The median L2 is that of all images that were correct, fooled or not. That is kind to a library that
stops short of the boundary; the robust accuracy beside it tells.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from _torchvision import make_importable
from torch import Tensor, nn

from narrows.attacks import PGD, DeepFool
from narrows.data import load

Run = Callable[[Tensor, Tensor], Tensor]
EPS = 0.1
STEPS = 40
RESTARTS = 20
MODULES = {"torchattacks": "torchattacks", "foolbox": "foolbox", "adversarial-library": "adv_lib"}


def train(splits: Any, epochs: int) -> nn.Module:
    """A CNN of two convolutions, deterministic from its seed."""
    torch.manual_seed(0)
    side = splits.train.shape[-1] // 4
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU()),
        *(nn.Conv2d(16, 32, 5, stride=2, padding=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * side**2, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(splits.train)).split(128):
            batch = splits.train.batch(rows)
            optimiser.zero_grad()
            F.cross_entropy(model(batch.x), batch.y).backward()
            optimiser.step()
    return model.eval()


def hardened(model: nn.Module, splits: Any) -> nn.Module:
    """Two epochs of PGD training in place."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.requires_grad_(True).parameters(), 1e-3)
    for _ in range(2):
        for rows in torch.randperm(len(splits.train), generator=generator).split(128):
            x, y = splits.train.batch(rows)
            x_adv = PGD(eps=0.2, steps=5, restarts=1)(model, x, y).x_adv
            optimiser.zero_grad()
            F.cross_entropy(model(x_adv), y).backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def deepfools(model: nn.Module, found: set[str]) -> dict[str, Run]:
    """DeepFool for L2, 50 steps, overshoot .02, of every library that is there."""
    runs: dict[str, Run] = {"narrows": lambda x, y: DeepFool()(model, x, y).x_adv}
    if "adversarial-library" in found:
        from adv_lib.attacks.deepfool import df

        runs["adversarial-library"] = lambda x, y: df(
            model, x, y, steps=50, overshoot=0.02, norm=2, return_unsuccessful=True
        )
    if "foolbox" in found:
        import foolbox

        attack = foolbox.attacks.L2DeepFoolAttack(steps=50, overshoot=0.02)
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
        runs["foolbox"] = lambda x, y: attack(wrapped, x, y, epsilons=None)[1]
    if "torchattacks" in found:
        import torchattacks

        runs["torchattacks"] = torchattacks.DeepFool(model, steps=50, overshoot=0.02)
    return runs


def pgds(model: nn.Module, found: set[str]) -> dict[str, Run]:
    """PGD-40 with 20 restarts, Linf .1, the same step size, of every library that is there."""
    step = 2.5 * EPS / STEPS
    ours = PGD(eps=EPS, steps=STEPS, restarts=RESTARTS)
    runs: dict[str, Run] = {"narrows": lambda x, y: ours(model, x, y).x_adv}
    if "adversarial-library" in found:
        from adv_lib.attacks.projected_gradient_descent import pgd_linf

        runs["adversarial-library"] = lambda x, y: pgd_linf(
            model, x, y, EPS, steps=STEPS, restarts=RESTARTS, absolute_step_size=step
        )
    if "foolbox" in found:
        import foolbox

        attack = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=STEPS)
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
        runs["foolbox"] = restarted(lambda x, y: attack(wrapped, x, y, epsilons=EPS)[1], model)
    if "torchattacks" in found:
        import torchattacks

        runs["torchattacks"] = torchattacks.MultiAttack(
            [torchattacks.PGD(model, EPS, step, STEPS) for _ in range(RESTARTS)]
        )
    return runs


def restarted(run: Run, model: nn.Module) -> Run:
    """Repeat an attack on the images that it has not fooled yet."""

    def repeat(x: Tensor, y: Tensor) -> Tensor:
        x_adv, rows = x.clone(), torch.arange(len(x))
        for _ in range(RESTARTS):
            x_adv[rows] = run(x[rows], y[rows])
            with torch.no_grad():
                rows = rows[model(x_adv[rows]).argmax(1) == y[rows]]
            if not len(rows):
                break
        return x_adv

    return repeat


def measure(
    runs: dict[str, Run], model: nn.Module, x: Tensor, y: Tensor, repetitions: int, once: set[str]
) -> dict[str, dict[str, float]]:
    """Median seconds of each library, and how good its images are by one and the same count."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    images: dict[str, Tensor] = {}
    for run in runs.values():
        run(x[:32], y[:32])
    for repetition in range(repetitions):
        for name, run in runs.items():
            if repetition and name in once:
                continue
            started = time.perf_counter(), time.process_time()
            images[name] = run(x, y).detach()
            wall[name].append(time.perf_counter() - started[0])
            cpu[name].append(time.process_time() - started[1])
    return {
        name: {
            "wall_s": statistics.median(wall[name]),
            "cpu_s": statistics.median(cpu[name]),
            "repetitions": len(wall[name]),
            **quality(model, x, images[name], y),
        }
        for name in runs
    }


def quality(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> dict[str, float]:
    """Robust accuracy, and the median L2 of all images that were correct."""
    with torch.no_grad():
        correct = model(x).argmax(1) == y
        fooled = model(x_adv).argmax(1) != y
    delta = (x_adv - x).flatten(1)
    return {
        "robust_accuracy": 1 - fooled.double().mean().item(),
        "median_l2": delta.norm(dim=1)[correct].median().item(),
        "largest_linf": delta.abs().max().item(),
    }


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    click.echo(f"\n{title}")
    click.echo(
        f"{'':22}{'wall s':>9}{'CPU s':>9}{'x ours':>9}{'robust %':>10}{'median L2':>11}{'runs':>6}"
    )
    ours = table["narrows"]
    for name, row in table.items():
        click.echo(
            f"{name:22}{row['wall_s']:9.2f}{row['cpu_s']:9.2f}{row['wall_s'] / ours['wall_s']:9.2f}"
            f"{100 * row['robust_accuracy']:10.2f}{row['median_l2']:11.4f}{row['repetitions']:6d}"
        )


@click.command(help=__doc__)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file to write.")
@click.option("--images", default=512, show_default=True, help="Test images to attack.")
@click.option("--repetitions", default=3, show_default=True, help="Timed runs of each.")
@click.option("--epochs", default=None, type=int, help="Of training; 3 on MNIST, 60 on digits.")
@click.option("--threads", default=None, type=int, help="PyTorch's own choice if not given.")
@click.option("--skip", multiple=True, type=click.Choice(list(MODULES)), help="Leave a peer out.")
def main(
    out: Path | None,
    images: int,
    repetitions: int,
    epochs: int | None,
    threads: int | None,
    skip: tuple[str, ...],
) -> None:
    if threads:
        torch.set_num_threads(threads)
    make_importable()
    found = {name for name, module in MODULES.items() if importlib.util.find_spec(module)}
    for name in sorted(set(MODULES) - found):
        click.echo(f"{name} is not installed: left out")
    found -= set(skip)
    data = "mnist" if os.environ.get("NARROWS_DATA") else "digits"
    splits = load(data)
    model = train(splits, epochs or (3 if data == "mnist" else 60))
    model.requires_grad_(False)
    x, y = splits.test.batch(slice(0, images))
    with torch.no_grad():
        clean = (model(x).argmax(1) == y).double().mean().item()
    click.echo(f"{data}: {len(x)} images, clean accuracy {100 * clean:.2f} %")
    report: dict[str, Any] = {
        "data": data,
        "images": len(x),
        "clean_accuracy": clean,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
    }
    report["deepfool_l2"] = measure(
        deepfools(model, found), model, x, y, repetitions, once={"torchattacks"}
    )
    show("DeepFool, L2, 50 steps", report["deepfool_l2"])
    report["pgd_linf"] = measure(pgds(model, found), model, x, y, repetitions, once=set())
    show(f"PGD, Linf {EPS}, {STEPS} steps, {RESTARTS} restarts", report["pgd_linf"])
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
