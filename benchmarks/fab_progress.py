"""How much nearer FAB comes after its first steps: what may be given up, and what may not.

    python benchmarks/fab_progress.py [--adversarial] [--norm l2] [--out fab_progress.json]

trains the small CNN of `attacks.py` on MNIST if NARROWS_DATA names a folder that holds it, else on
the digits inside the package; `--adversarial` goes on with two epochs of PGD training. Every image
is attacked towards all other classes, and what an attempt ends at is set against what it had after
5, 10, 20, ... steps. FAB with `eps` ends attempts that are farther than 1.5 eps after 20 steps: it
loses nothing as long as no ratio is below 1 / 1.5.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import click
import torch
from _timing import save
from torch import Tensor, nn

from attacks import train
from narrows.attacks import FAB, PGD
from narrows.data import Splits, load

STEPS = (5, 10, 15, 20, 30, 50)


@dataclass(frozen=True, kw_only=True)
class Watched(FAB):
    """FAB without an eps that notes how near each attempt has come after each step."""

    seen: list[dict[int, Tensor]] = field(default_factory=list)

    def _left(self, query, nearest, rows, reached, step):
        if step == 0:
            self.seen.append({})
        self.seen[-1][step + 1] = reached.clone()
        return super()._left(query, nearest, rows, reached, step)


def harden(model: nn.Module, splits: Splits, eps: float) -> None:
    """Two epochs of PGD training in place."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(2):
        for rows in torch.randperm(len(splits.train), generator=generator).split(128):
            x, y = splits.train.batch(rows)
            x_adv = PGD(eps=eps, steps=5, restarts=1)(model, x, y).x_adv
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x_adv), y).backward()
            optimiser.step()


@click.command(help=__doc__)
@click.option("--images", default=200, show_default=True)
@click.option("--norm", type=click.Choice(["linf", "l2"]), default="linf", show_default=True)
@click.option("--adversarial", is_flag=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file to write.")
def main(images: int, norm: str, adversarial: bool, out: Path | None) -> None:
    data = "mnist" if os.environ.get("NARROWS_DATA") else "digits"
    splits = load(data)
    model = train(splits, 3 if data == "mnist" else 60)
    if adversarial:
        harden(model, splits, 0.2)
    model.eval().requires_grad_(False)
    attack = Watched(norm=norm, restarts=1, targets=9)  # pyright: ignore[reportArgumentType]
    attack(model, *splits.test.batch(slice(0, images)))
    reached = {step: torch.cat([chunk[step] for chunk in attack.seen]) for step in (*STEPS, 100)}
    rows = {}
    for step in STEPS:
        found = torch.isfinite(reached[step])
        ratio = (reached[100] / reached[step])[found]
        rows[str(step)] = {
            "found": found.double().mean().item(),
            "least_ratio": ratio.min().item(),
            "median_ratio": ratio.median().item(),
        }
        click.echo(
            f"after {step:3} steps: found {rows[str(step)]['found']:.3f}, end / now at least "
            f"{rows[str(step)]['least_ratio']:.3f}, median {rows[str(step)]['median_ratio']:.3f}"
        )
    about = {"data": data, "norm": norm, "adversarial": adversarial, "attempts": len(reached[100])}
    save(out, {**about, "steps": rows})


if __name__ == "__main__":
    main()
