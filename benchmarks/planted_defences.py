"""Whether the audit finds planted false defences out, and leaves honest models alone.

    python benchmarks/planted_defences.py [--data mnist] [--images 200] [--out planted.json]

One undefended model is put behind each defence of `narrows.audit.planted`. The table shows what
FGSM and PGD claim, what the audit reaches, its verdict and the checks that failed. A defence is
found out if its verdict is *overestimated* or *attack failed*, and recovered if the audit gets
within 2 points of the undefended model. Honest models are cleared if their verdict is *holds*, and
what the audit reaches is not below what is certified where there is a certificate.

Add a defence: an entry of `PLANTED`, or `--defence file.py:wrap` for a function that takes the
undefended model and returns the defended one.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from narrows.audit import BUDGETS, Audit, Outcome, audit
from narrows.audit.planted import PLANTED
from narrows.data import Splits, load
from narrows.methods import CrossEntropy
from narrows.methods.adversarial import PGDTraining
from narrows.models.mlp import mlp

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
ACCUSED = (Outcome.OVERESTIMATED, Outcome.ATTACK_FAILED)
SHARE = 0.02


class MaxMin(nn.Module):
    """Sorts pairs of features: an activation that keeps every gradient's norm."""

    def forward(self, x: Tensor) -> Tensor:
        """`[n, 2 k]` to `[n, 2 k]`."""
        one, other = x.chunk(2, 1)
        return torch.cat([torch.maximum(one, other), torch.minimum(one, other)], 1)


class Scaled(nn.Module):
    """Multiplies by a constant, which is the Lipschitz bound of a 1-Lipschitz network before it."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """The multiple."""
        return self.factor * x


def network(shape: tuple[int, ...]) -> nn.Module:
    """An MLP for the digits, a CNN of two convolutions for larger images."""
    if shape[-1] < 16:
        return nn.Sequential(nn.Flatten(), *mlp([64, 128, 128, 10]))
    side = shape[-1] // 4
    return nn.Sequential(
        *(nn.Conv2d(shape[0], 16, 5, stride=2, padding=2), nn.ReLU()),
        *(nn.Conv2d(16, 32, 5, stride=2, padding=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * side**2, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def lipschitz(shape: tuple[int, ...], bound: float = 10.0) -> nn.Module:
    """A network whose L2 Lipschitz constant is `bound`, by orthogonal layers."""
    inputs = shape[0] * shape[1] * shape[2]
    return nn.Sequential(
        *(nn.Flatten(), orthogonal(nn.Linear(inputs, 64)), MaxMin()),
        *(orthogonal(nn.Linear(64, 64)), MaxMin(), orthogonal(nn.Linear(64, 10)), Scaled(bound)),
    )


def fit(model: nn.Module, splits: Splits, epochs: int, loss: Loss) -> nn.Module:
    """Train by Adam; deterministic from the global seed."""
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    size = 64 if len(splits.train) < 5000 else 128
    for _ in range(epochs):
        for rows in torch.randperm(len(splits.train)).split(size):
            batch = splits.train.batch(rows)
            optimiser.zero_grad()
            loss(model, batch.x, batch.y).backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def plain(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def certified(model: nn.Module, x: Tensor, y: Tensor, eps: float, bound: float = 10.0) -> float:
    """Share of images whose margin exceeds `sqrt(2) * bound * eps`: nothing can fool them."""
    top = model(x).topk(2, 1)
    gap = top.values[:, 0] - top.values[:, 1]
    safe = (top.indices[:, 0] == y) & (gap > 2**0.5 * bound * eps)
    return safe.double().mean().item()


def honest_models(
    splits: Splits, epochs: int, eps: float
) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    """Models whose robustness is what it seems, and how each is audited."""
    shape = splits.train.shape
    torch.manual_seed(1)
    hardening = PGDTraining(CrossEntropy(), eps=eps / 2, steps=5)
    hardened = fit(network(shape), splits, epochs, hardening)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(splits.train.x[0].numel(), 10))
    return {
        "adversarially trained": (hardened, {"eps": eps / 2}),
        "adversarially trained, L2": (hardened, {"eps": 3 * eps, "norm": "l2"}),
        "linear": (fit(linear, splits, epochs, plain), {"eps": eps / 4}),
        "certified (Lipschitz), L2": (
            fit(lipschitz(shape), splits, epochs, plain),
            {"eps": 0.4, "norm": "l2"},
        ),
        "undefended, small eps": (fit(network(shape), splits, epochs, plain), {"eps": eps / 4}),
    }


def row(name: str, found: Audit, seconds: float) -> dict[str, Any]:
    """One line of the table, printed at once."""
    claims = {finding.check: finding.data for finding in found.findings}["one_step"]
    line = {
        "name": name,
        "clean": found.verdict.clean,
        **claims,
        "reached": found.verdict.reached,
        "outcome": found.verdict.outcome.value,
        "flagged": list(found.flagged),
        "tried": list(found.tried),
        "seconds": seconds,
    }
    click.echo(
        f"{name:26}{100 * line['clean']:7.1f}{100 * line['fgsm']:7.1f}{100 * line['pgd']:7.1f}"
        f"{100 * line['reached']:9.1f}{seconds:7.1f}  {found.verdict.outcome.name.lower():15}"
        f"{' '.join(found.flagged)}"
    )
    return line


def examine(name: str, model: nn.Module, x: Tensor, y: Tensor, **claim: Any) -> dict[str, Any]:
    started = time.perf_counter()
    found = audit(model, x, y, **claim)
    return row(name, found, time.perf_counter() - started)


def loaded(spec: str) -> Callable[[nn.Module], nn.Module]:
    """The function that `file.py:name` names."""
    path, _, name = spec.partition(":")
    claim = importlib.util.spec_from_file_location("defence", path)
    if claim is None or claim.loader is None:
        raise click.BadParameter(f"cannot read {path}; expected file.py:function")
    module = importlib.util.module_from_spec(claim)
    claim.loader.exec_module(module)
    return getattr(module, name)


@click.command(help=__doc__)
@click.option("--data", default="digits", show_default=True, help="digits or mnist.")
@click.option("--images", default=200, show_default=True, help="Test images to attack.")
@click.option("--budget", default="fast", show_default=True, help="fast, standard or full.")
@click.option("--epochs", default=None, type=int, help="Of training; 40 on digits, 2 on MNIST.")
@click.option("--eps", default=0.2, show_default=True, help="Linf radius of the planted defences.")
@click.option("--twin", is_flag=True, help="Tell the audit the undefended model.")
@click.option("--only", multiple=True, help="Names of planted defences; all if not given.")
@click.option("--defence", multiple=True, help="One of your own, file.py:function.")
@click.option("--skip-honest", is_flag=True, help="Leave the honest models out.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file to write.")
def main(
    data: str,
    images: int,
    budget: str,
    epochs: int | None,
    eps: float,
    twin: bool,
    only: tuple[str, ...],
    defence: tuple[str, ...],
    skip_honest: bool,
    out: Path | None,
) -> None:
    settings: dict[str, Any] = {"budget": BUDGETS[budget].with_images(images)}
    splits = load(data)
    x, y = splits.test.batch(slice(0, images))
    epochs = epochs or (40 if data == "digits" else 2)
    torch.manual_seed(0)
    base = fit(network(splits.train.shape), splits, epochs, plain)
    click.echo(f"{data}, {len(x)} images, Linf {eps:g}, budget {budget}")
    head = f"{'':26}{'clean':>7}{'FGSM':>7}{'PGD':>7}{'reached':>9}{'s':>7}"
    click.echo(f"{head}  verdict, failed checks")
    bare = examine("undefended", base, x, y, eps=eps, **settings)
    wraps = {name: wrap for name, wrap in PLANTED.items() if not only or name in only}
    wraps |= {spec: loaded(spec) for spec in defence}
    told = {"twin": base} if twin else {}
    planted = [
        examine(name, wrap(base).eval(), x, y, eps=eps, **told, **settings)
        for name, wrap in wraps.items()
    ]
    honest = []
    if not skip_honest:
        for name, (model, claim) in honest_models(splits, epochs, eps).items():
            line = examine(name, model, x, y, **claim, **settings)
            if name.startswith("certified"):
                line["certified"] = certified(model, x, y, claim["eps"])
                click.echo(f"{'':26}certified: {100 * line['certified']:.1f}")
            honest.append(line)
    found = [line for line in planted if line["outcome"] in ACCUSED]
    recovered = [line for line in planted if line["reached"] <= bare["reached"] + SHARE + 1e-9]
    cleared = [
        line
        for line in honest
        if line["outcome"] == Outcome.HOLDS and line["reached"] >= line.get("certified", 0)
    ]
    click.echo(
        f"\nfound out {len(found)} of {len(planted)}, recovered {len(recovered)} of "
        f"{len(planted)}; honest models cleared {len(cleared)} of {len(honest)}"
    )
    if out:
        report = {"data": data, "images": len(x), "eps": eps, "budget": budget}
        report |= {"undefended": bare, "planted": planted, "honest": honest}
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
