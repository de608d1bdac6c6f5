"""What APGD, FAB and Square spare by giving up early, and whether any image is lost by it.

    python benchmarks/giving_up.py [--images 300] [--out giving_up.json]

trains the small CNN of `attacks.py` on MNIST if NARROWS_DATA names a folder that holds it, else on
the digits inside the package, and a second one by two epochs of PGD training. APGD on the
cross-entropy attacks all images; targeted APGD, targeted FAB and Square attack those that it has
left, and as many that it has not. Each attacks once as it is, and once with every climb, approach
and search taken to its end.
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
from narrows.attacks import APGD, FAB, Attack, Square
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
    """Images fooled and passes, of each attack with and without giving up."""
    shared: dict[str, Any] = {"norm": norm, "eps": eps, "restarts": 1}
    settings = {**shared, "loss": "targeted_dlr", "targets": 9}
    first = APGD(**shared)
    pairs: dict[str, tuple[Attack, Attack]] = {
        "APGD-T": (APGD(**settings), PatientAPGD(**settings)),
        "FAB-T": (FAB(**shared, targets=9), PatientFAB(**shared, targets=9)),
        "Square": (Square(norm=norm, eps=eps, patient=False), Square(norm=norm, eps=eps)),
    }
    found: dict[str, Any] = {"images": len(x), "eps": eps}
    found["APGD-CE"] = row(first, PatientAPGD(**shared), model, x, y)
    success = first(model, x, y).success
    hard, easy = ((success == fooled).nonzero().squeeze(1) for fooled in (False, True))
    rows = torch.cat([hard, easy[: len(hard)]])
    for name, (ours, patient) in pairs.items():
        found[name] = row(ours, patient, model, x[rows], y[rows])
    for name in ("APGD-CE", *pairs):
        click.echo(f"  {norm} {eps:g}, {name}: {found[name]}")
    return found


def row(ours: Attack, patient: Attack, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Any]:
    """What one attack fools, and what it spares."""
    given, taken = ours(model, x, y), patient(model, x, y)
    return {
        "images": len(x),
        "fooled": int(given.success.sum()),
        "fooled_by_patience": int(taken.success.sum()),
        "lost": int((taken.success & ~given.success).sum()),
        "share_of_passes": given.forwards / taken.forwards,
    }


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
