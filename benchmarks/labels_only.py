"""Boundary attack and HopSkipJump beside other libraries: the same model, images and queries.

    python benchmarks/labels_only.py --queries 2000 --images 40 --out labels_only.json

The CNN and the first test images of `benchmarks/attacks.py`. A peer that is not installed is left
out and named: `pip install foolbox adversarial-robustness-toolbox`. foolbox and ART count steps and
not queries, so every library runs with more and more steps, each run is one point, and its queries
are counted by the model itself. foolbox's own starting points fail for some images: only the images
for which they succeed are attacked by anybody, and ART begins at the same ones. The queries that
foolbox's starting points took are counted for both.

Beside each point of a peer stands what this library needs for a median as near: the queries and the
seconds of the smallest of its own budgets that reaches it.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import importlib.util
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from _timing import save
from torch import Tensor, nn

from attacks import train
from narrows.attacks import BoundaryAttack, HopSkipJump
from narrows.attacks import norms as geometry
from narrows.data import load
from narrows.types import Norm

Run = Callable[[Tensor, Tensor], Tensor]
CASES: tuple[tuple[str, Norm], ...] = (
    ("boundary", "l2"),
    ("hop_skip_jump", "l2"),
    ("hop_skip_jump", "linf"),
)
OURS = (250, 500, 1000, 2000, 4000)


class Counted(nn.Module):
    """Counts the images that pass; ART sends double precision."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        self.count += len(x)
        return self.model(x.float())


def foolbox_starts(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """Blended noise `[n, ...]`, and the queries that each image took."""
    import foolbox

    counted = Counted(model).eval()
    attack = foolbox.attacks.LinearSearchBlendedUniformNoiseAttack(directions=100, steps=50)
    wrapped = foolbox.PyTorchModel(counted, bounds=(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = attack.run(wrapped, x, foolbox.criteria.Misclassification(y))
    return start, counted.count / len(x)


def foolbox_run(counted: nn.Module, name: str, norm: Norm, steps: int, start: Tensor) -> Run:
    import foolbox

    wrapped = foolbox.PyTorchModel(counted, bounds=(0, 1))
    if name == "boundary":
        attack = foolbox.attacks.BoundaryAttack(steps=steps)
    else:
        attack = foolbox.attacks.HopSkipJumpAttack(steps=steps, constraint=norm)
    return lambda x, y: attack.run(
        wrapped, x, foolbox.criteria.Misclassification(y), starting_points=start
    )


def art_run(counted: nn.Module, name: str, norm: Norm, steps: int, start: Tensor) -> Run:
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    wrapped = PyTorchClassifier(
        counted, nn.CrossEntropyLoss(), start.shape[1:], 10, clip_values=(0, 1), device_type="cpu"
    )
    settings: dict[str, Any] = {"targeted": False, "max_iter": steps, "verbose": False}
    if name == "boundary":
        attack = evasion.BoundaryAttack(wrapped, epsilon=0.01, delta=0.01, **settings)
    else:
        order = 2 if norm == "l2" else "inf"
        attack = evasion.HopSkipJump(wrapped, norm=order, batch_size=512, **settings)
    starts = start.numpy()
    return lambda x, y: torch.from_numpy(attack.generate(x.numpy(), y.numpy(), x_adv_init=starts))


def point(
    model: nn.Module, build: Callable[[nn.Module], Run], x: Tensor, y: Tensor, norm: Norm
) -> dict[str, float]:
    """Queries of each image, CPU seconds, and the median distance of all images."""
    counted = Counted(model).eval()
    run = build(counted)
    started = time.process_time()
    x_adv = run(x, y).detach()
    seconds = time.process_time() - started
    fooled = model(x_adv).argmax(1) != y
    distance = geometry.size(x_adv - x, norm).where(fooled, torch.inf)
    return {
        "queries": counted.count / len(x),
        "cpu_s": seconds,
        "median": distance.median().item(),
    }


def our_point(model: nn.Module, name: str, norm: Norm, queries: int, x: Tensor, y: Tensor) -> Any:
    kind = BoundaryAttack if name == "boundary" else HopSkipJump
    attack = kind(norm=norm, queries=queries)
    return point(model, lambda counted: lambda x, y: attack(counted, x, y).x_adv, x, y, norm)


@click.command()
@click.option("--images", default=40, help="Test images, the first ones.")
@click.option("--queries", default=2000, help="Of the longest runs of the peers, about.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the figures.")
def main(images: int, queries: int, out: Path | None) -> None:
    torch.set_num_threads(1)
    name = "mnist" if "NARROWS_DATA" in os.environ else "digits"
    splits = load(name)
    model = train(splits, 1 if name == "mnist" else 20).requires_grad_(False)
    x, y = splits.test.batch(slice(0, images))
    peers: dict[str, Callable[..., Run]] = {}
    start, spent = x, 0.0
    if importlib.util.find_spec("foolbox"):
        torch.manual_seed(0)
        start, spent = foolbox_starts(model, x, y)
        good = (model(start).argmax(1) != y) & (model(x).argmax(1) == y)
        x, y, start = x[good], y[good], start[good]
        peers["foolbox"] = foolbox_run
        if importlib.util.find_spec("art"):
            peers["ART"] = art_run
    for peer in {"foolbox", "ART"} - set(peers):
        click.echo(f"{peer} is not installed and is left out (ART needs foolbox too, for starts)")
    table: dict[str, Any] = {"images": len(x), "data": name}
    # ART evaluates 25 directions in each step of its boundary attack.
    steps = {
        ("boundary", "foolbox"): (queries // 4, queries),
        ("boundary", "ART"): (max(1, queries // 100), max(2, queries // 50)),
        ("hop_skip_jump", "foolbox"): (max(1, queries // 600), max(2, queries // 250)),
        ("hop_skip_jump", "ART"): (max(1, queries // 600), max(2, queries // 250)),
    }
    for attack, norm in CASES:
        rows = {"narrows": [our_point(model, attack, norm, budget, x, y) for budget in OURS]}
        for peer, build in peers.items():
            rows[peer] = []
            for count in steps[attack, peer]:
                torch.manual_seed(0)
                run = partial(build, name=attack, norm=norm, steps=count, start=start)
                result = point(model, run, x, y, norm)
                result["queries"] += spent
                rows[peer].append(result)
        table[f"{attack} {norm}"] = rows
        show(f"{attack}, {norm}, {len(x)} images of {name}", rows)
    if out:
        save(out, table)


def show(title: str, rows: dict[str, list[dict[str, float]]]) -> None:
    click.echo(f"\n{title}")
    for peer, points in rows.items():
        for part in points:
            line = f"{peer:10}{part['queries']:8.0f} queries{part['cpu_s']:8.2f} s"
            line += f"   median {part['median']:.4f}"
            if peer != "narrows":
                near = [mine for mine in rows["narrows"] if mine["median"] <= part["median"]]
                best = min(near, key=lambda mine: mine["queries"], default=None)
                line += "   narrows: " + (
                    f"{best['queries']:.0f} queries, {best['cpu_s'] / part['cpu_s']:.2f} x its time"
                    if best
                    else "not as near"
                )
            click.echo(line)


if __name__ == "__main__":
    main()
