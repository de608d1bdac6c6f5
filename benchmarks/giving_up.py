"""What APGD and FAB spare by giving up early, and whether any image is lost by it.

    python benchmarks/giving_up.py [--images 300] [--out giving_up.json]

trains the small CNN of `attacks.py` on MNIST if NARROWS_DATA names a folder that holds it, else on
the digits inside the package, and a second one by two epochs of PGD training. Targeted APGD and
targeted FAB attack the images that APGD on the cross-entropy has left, once as they are and once
with every climb and every approach taken to its end.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from _timing import save
from torch import Tensor, nn

from attacks import hardened, train
from narrows.attacks import APGD, FAB, Attack
from narrows.data import load

RADII = {"plain": {"linf": 0.1, "l2": 1.5}, "PGD-trained": {"linf": 0.2, "l2": 2.5}}


@dataclass(frozen=True, kw_only=True)
class PatientAPGD(APGD):
    """Every climb to its end."""

    def _stop_hopeless(self, best: Any, state: Any) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class PatientFAB(FAB):
    """Every approach to its end."""

    def _left(self, query: Any, nearest: Any, rows: Any, reached: Any, step: int) -> Tensor:
        return super()._left(query, nearest, rows, torch.zeros_like(reached), step)


def compare(model: nn.Module, x: Tensor, y: Tensor, norm: Any, eps: float) -> dict[str, Any]:
    """Images fooled and passes, of both attacks with and without giving up."""
    left = ~APGD(norm=norm, eps=eps, restarts=1)(model, x, y).success
    left &= model(x).argmax(1) == y
    x, y = x[left], y[left]
    shared: dict[str, Any] = {"norm": norm, "eps": eps, "restarts": 1, "targets": 9}
    pairs: dict[str, tuple[Attack, Attack]] = {
        "APGD-T": (
            APGD(loss="targeted_dlr", **shared),
            PatientAPGD(loss="targeted_dlr", **shared),
        ),
        "FAB-T": (FAB(**shared), PatientFAB(**shared)),
    }
    found: dict[str, Any] = {"images": len(x), "eps": eps}
    for name, (ours, patient) in pairs.items():
        given, taken = ours(model, x, y), patient(model, x, y)
        found[name] = {
            "fooled": int(given.success.sum()),
            "fooled_by_patience": int(taken.success.sum()),
            "lost": int((taken.success & ~given.success).sum()),
            "share_of_passes": given.backwards / taken.backwards,
        }
        click.echo(f"  {norm} {eps:g}, {len(x)} images, {name}: {found[name]}")
    return found


@click.command(help=__doc__)
@click.option("--images", default=300, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file to write.")
def main(images: int, out: Path | None) -> None:
    data = "mnist" if os.environ.get("NARROWS_DATA") else "digits"
    splits = load(data)
    x, y = splits.test.batch(slice(0, images))
    model = train(splits, 3 if data == "mnist" else 60).eval().requires_grad_(False)
    report: dict[str, Any] = {"data": data, "images": len(x)}
    for name, radii in RADII.items():
        click.echo(name)
        if name != "plain":
            model = hardened(model, splits)
        report[name] = {norm: compare(model, x, y, norm, eps) for norm, eps in radii.items()}
    save(out, report)


if __name__ == "__main__":
    main()
