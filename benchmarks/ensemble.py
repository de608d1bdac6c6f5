"""The standard ensemble and its parts beside the original AutoAttack: one model, one run.

    python benchmarks/ensemble.py --out ensemble.json

trains the small CNN of `attacks.py` on MNIST if NARROWS_DATA names a folder that holds it, else on
the digits inside the package, and attacks its first test images. Peers that are not installed are
left out and named: `pip install pyautoattack adv-lib`. Repetitions take turns, so that a noisy
machine troubles all alike. `x ours` is the peer's CPU time over ours, medians of the repetitions.
Robust accuracy is counted in one and the same way, on the images that came back.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import importlib.util
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from _timing import in_turn, save
from _torchvision import make_importable
from torch import Tensor, nn

from attacks import hardened, train
from narrows.attacks import APGD, Square, standard
from narrows.data import load

Run = Callable[[Tensor, Tensor], Tensor]
EPS = {"linf": 0.1, "l2": 1.5}
EPS_OF_HARDENED = {"linf": 0.2, "l2": 2.5}
MODULES = {"AutoAttack": "pyautoattack", "adversarial-library": "adv_lib"}


def original(
    model: nn.Module, norm: str, eps: float, attack: str | None, queries: int = 5000
) -> Run:
    """The original's standard version, or one attack of it."""
    from pyautoattack import AutoAttack

    def run(x: Tensor, y: Tensor) -> Tensor:
        choice: dict[str, Any] = {"version": "standard"}
        if attack:
            choice = {"version": "custom", "attacks": [attack]}
        name = {"linf": "Linf", "l2": "L2"}[norm]
        with torch.random.fork_rng([]):  # it reseeds the global generator
            attacker = AutoAttack(model, norm=name, eps=eps, seed=0, **choice)
            attacker.apgd.n_restarts = 1
            attacker.square.n_queries = queries
            found = attacker.run_standard_evaluation(x, y, batch_size=512)
        return found if isinstance(found, Tensor) else found[0]

    return run


def peer(model: nn.Module, norm: str, eps: float, loss: str) -> Run:
    """adversarial-library's APGD."""
    from adv_lib.attacks import apgd

    order = {"linf": math.inf, "l2": 2}[norm]
    return lambda x, y: apgd(
        model, x, y, eps, norm=order, n_iter=100, n_restarts=1, loss_function=loss
    )


def cases(model: nn.Module, norm: Any, eps: float, found: set[str]) -> dict[str, dict[str, Run]]:
    """What is measured: each attack of every library that is there."""
    ours = {
        "APGD-CE 100": APGD(norm=norm, eps=eps, restarts=1),
        "APGD-DLR 100": APGD(norm=norm, eps=eps, restarts=1, loss="dlr"),
        "APGD-T 9 x 100": APGD(norm=norm, eps=eps, restarts=1, loss="targeted_dlr"),
        "Square 1,000": Square(norm=norm, eps=eps, queries=1000),
        "standard ensemble": standard(norm, eps=eps),
    }
    theirs = {
        "APGD-CE 100": ("apgd-ce", "ce"),
        "APGD-DLR 100": ("apgd-dlr", "dlr"),
        "APGD-T 9 x 100": ("apgd-t", None),
        "Square 1,000": ("square", None),
        "standard ensemble": (None, None),
    }
    table: dict[str, dict[str, Run]] = {}
    for title, attack in ours.items():
        table[title] = {"narrows": lambda x, y, attack=attack: attack(model, x, y).x_adv}
        name, loss = theirs[title]
        if "AutoAttack" in found:
            queries = 1000 if name == "square" else 5000
            table[title]["AutoAttack"] = original(model, norm, eps, name, queries)
        if loss and "adversarial-library" in found:
            table[title]["adversarial-library"] = peer(model, norm, eps, loss)
    return table


def compare(
    runs: dict[str, Run], model: nn.Module, x: Tensor, y: Tensor, norm: str, repetitions: int
) -> dict[str, dict[str, float]]:
    """Seconds, their ratio to ours, images left and the largest perturbation of each library."""
    images: dict[str, Tensor] = {}

    cpu: dict[str, list[float]] = {name: [] for name in runs}

    def timed(name: str, run: Run) -> Callable[[], None]:
        def once() -> None:
            started = time.process_time()
            images[name] = run(x, y).detach()
            cpu[name].append(time.process_time() - started)

        return once

    # No warm-up: a run is long beside it.
    wall = in_turn({name: timed(name, run) for name, run in runs.items()}, repetitions, 0)
    rows: dict[str, dict[str, float]] = {}
    for name, x_adv in images.items():
        with torch.no_grad():
            robust = (model(x_adv).argmax(1) == y).double().mean().item()
        delta = (x_adv - x).flatten(1)
        size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
        rows[name] = {
            "wall_s": median(wall[name]),
            "cpu_s": median(cpu[name]),
            "times_ours": median(cpu[name]) / median(cpu["narrows"]),
            "robust_accuracy": robust,
            "largest": size.max().item(),
        }
    return rows


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    click.echo(f"\n{title:22}{'wall s':>9}{'CPU s':>9}{'x ours':>9}{'robust %':>10}{'largest':>9}")
    for name, row in rows.items():
        click.echo(
            f"{name:22}{row['wall_s']:9.2f}{row['cpu_s']:9.2f}{row['times_ours']:9.2f}"
            f"{100 * row['robust_accuracy']:10.2f}{row['largest']:9.4f}"
        )


@click.command(help=__doc__)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file to write.")
@click.option("--images", default=256, show_default=True, help="Test images to attack.")
@click.option("--norm", "norms", multiple=True, type=click.Choice(list(EPS)), default=list(EPS))
@click.option(
    "--only", multiple=True, help="Start of the name of the cases to run; all by default."
)
@click.option("--repetitions", default=1, show_default=True, help="Timed runs of each.")
@click.option("--epochs", default=None, type=int, help="Of training; 3 on MNIST, 60 on digits.")
@click.option(
    "--adversarial", is_flag=True, help="Attack the CNN after two epochs of PGD training."
)
@click.option("--threads", default=None, type=int, help="PyTorch's own choice if not given.")
def main(
    out: Path | None,
    images: int,
    norms: tuple[str, ...],
    only: tuple[str, ...],
    repetitions: int,
    epochs: int | None,
    adversarial: bool,
    threads: int | None,
) -> None:
    if threads:
        torch.set_num_threads(threads)
    make_importable()
    found = {name for name, module in MODULES.items() if importlib.util.find_spec(module)}
    for name in sorted(set(MODULES) - found):
        click.echo(f"{name} is not installed: left out")
    data = "mnist" if os.environ.get("NARROWS_DATA") else "digits"
    splits = load(data)
    model = train(splits, epochs or (3 if data == "mnist" else 60)).requires_grad_(False)
    if adversarial:
        model = hardened(model, splits)
    x, y = splits.test.batch(slice(0, images))
    about = {"data": data, "adversarial": adversarial}
    radii = EPS_OF_HARDENED if adversarial else EPS
    report: dict[str, Any] = {**about, "images": len(x), "eps": radii}
    for norm in norms:
        for title, runs in cases(model, norm, radii[norm], found).items():
            if title.startswith(only or ""):
                report[f"{title}, {norm}"] = compare(runs, model, x, y, norm, repetitions)
                show(f"{title}, {norm}", report[f"{title}, {norm}"])
    save(out, report)


if __name__ == "__main__":
    main()
