"""Whether the audit finds planted false defences out, and leaves honest models alone.

    python benchmarks/planted_defences.py [--data mnist] [--images 200] [--out planted.json]

One undefended model is put behind each defence of `narrows.audit.planted` (`--set planted`), behind
those on which remedies were developed too (`--set developed`), and behind those that were written
after the remedies were finished (`--set fresh`), some of which are networks of their own. Those of
a red team that had not read the audit are trained by themselves (`--set red_team`, digits, Linf .1,
with honest models of its own). The table
shows what FGSM and PGD claim, what the audit reaches, its verdict and the checks that failed, and
what is left by an attacker who knows the defence. A defence is found out if the verdict is
*overestimated* or *attack failed*. Honest models are cleared if it is *holds*, and what the audit
reaches is not below what is certified where there is a certificate.

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
from defences.developed import DEVELOPED
from defences.fresh import FRESH, Defended
from defences.honest import ODD, Honest, lipschitz
from defences.red_team import RED_TEAM
from defences.red_team_honest import HONEST
from defences.red_team_knowing import knowing_attack
from defences.red_team_parts import Misleading
from torch import Tensor, nn

from narrows.audit import BUDGETS, Audit, Case, Outcome, audit
from narrows.audit._guided import climb_guide
from narrows.audit.planted import PLANTED
from narrows.data import Splits, load
from narrows.methods import CrossEntropy
from narrows.methods.adversarial import PGDTraining
from narrows.models.mlp import mlp

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
Settings = dict[str, Any]
Row = dict[str, Any]
Models = dict[str, tuple[nn.Module, Settings]]
ACCUSED = (Outcome.OVERESTIMATED, Outcome.ATTACK_FAILED)
SHARE = 0.02
TRAINING = 2000  # images that the audit may train its own networks on


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


def honest_models(sets: tuple[str, ...], splits: Splits, epochs: int, eps: float) -> Models:
    """Models whose robustness is what it seems, and how each is audited."""
    if sets == ("red_team",):
        return {name: (make(), {"eps": eps}) for name, make in HONEST.items()}
    shape, pixels = splits.train.shape, splits.train.x[0].numel()
    torch.manual_seed(1)
    hardening = PGDTraining(CrossEntropy(), eps=eps / 2, steps=5)
    hardened = fit(network(shape), splits, epochs, hardening)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 10))
    usual: Models = {
        "adversarially trained": (hardened, {"eps": eps / 2}),
        "adversarially trained, L2": (hardened, {"eps": 3 * eps, "norm": "l2"}),
        "linear": (fit(linear, splits, epochs, plain), {"eps": eps / 4}),
        "certified (Lipschitz), L2": (
            fit(lipschitz(pixels), splits, epochs, plain),
            {"eps": 0.4, "norm": "l2"},
        ),
        "undefended, small eps": (fit(network(shape), splits, epochs, plain), {"eps": eps / 4}),
    }
    return usual | {name: odd_model(odd, splits, epochs, eps) for name, odd in ODD.items()}


def odd_model(odd: Honest, splits: Splits, epochs: int, eps: float) -> tuple[nn.Module, Settings]:
    """Train one of `ODD`, and how it is audited."""
    torch.manual_seed(2)
    hardening = PGDTraining(CrossEntropy(), eps=odd.hardened * eps, steps=5)
    loss = hardening if odd.hardened else plain
    model = fit(
        odd.build(splits.train.x[0].numel()), splits, max(1, round(odd.epochs * epochs)), loss
    )
    return odd.finish(model), {**odd.claim, "eps": odd.claim["eps"] * eps}


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
    file = importlib.util.spec_from_file_location("defence", path)
    if file is None or file.loader is None:
        raise click.BadParameter(f"cannot read {path}; expected file.py:function")
    module = importlib.util.module_from_spec(file)
    file.loader.exec_module(module)
    return getattr(module, name)


def defended(
    sets: tuple[str, ...], only: tuple[str, ...], base: nn.Module, splits: Splits, epochs: int
) -> dict[str, Defended]:
    """The models of the chosen sets, behind whose defence a knowing attacker would look."""
    made: dict[str, Defended] = {}
    wraps = (PLANTED if "planted" in sets else {}) | (DEVELOPED if "developed" in sets else {})
    for name, wrap in wraps.items():
        if not only or name in only:
            made[name] = Defended(wrap(base), base)
    for name, make in (FRESH if "fresh" in sets else {}).items():
        if not only or name in only:
            torch.manual_seed(3)
            made[name] = make(base, splits, lambda model: fit(model, splits, epochs, plain))
    for name, make in (RED_TEAM if "red_team" in sets else {}).items():
        if not only or name in only:
            model = make().eval()
            made[name] = Defended(model, model)
    return made


def knowing(made: Defended, x: Tensor, y: Tensor, eps: float, settings: Settings) -> float:
    """What is left by attacks on what a knowing attacker differentiates, judged on the model."""
    if isinstance(made.model, Misleading):
        return knowing_attack(made.model, x, y, eps).double().mean().item()
    case = Case(made.model, x, y, eps=eps, twin=made.known, **settings)
    for loss in ("margin", "cross_entropy"):
        climb_guide(case, "twin", loss=loss)
        climb_guide(case, "twin", loss=loss, start="random")
        case.escalate(case.pgd(loss=loss, steps=40, restarts=5), "twin")
    return len(case.survivors) / len(x)


def summary(planted: list[Row], honest: list[Row]) -> str:
    """How many were found out, how many reached, and how many honest models were cleared."""
    accused = [line for line in planted if line["outcome"] in ACCUSED]
    held = [line for line in planted if line["outcome"] == Outcome.HOLDS]
    near = [line for line in planted if line["reached"] <= line["knowing"] + SHARE + 1e-9]
    close = [line for line in planted if line["reached"] <= line["knowing"] + 0.05 + 1e-9]
    cleared = [
        line
        for line in honest
        if line["outcome"] == Outcome.HOLDS and line["reached"] >= line.get("certified", 0)
    ]
    return (
        f"\nfound out {len(accused)} of {len(planted)}, said to hold {len(held)}; left within "
        f"2 points of the knowing attack {len(near)}, within 5 points {len(close)}; honest models "
        f"cleared {len(cleared)} of {len(honest)}"
    )


@click.command(help=__doc__)
@click.option("--data", default="digits", show_default=True, help="digits or mnist.")
@click.option("--images", default=200, show_default=True, help="Test images to attack.")
@click.option("--budget", default="fast", show_default=True, help="fast, standard or full.")
@click.option("--epochs", default=None, type=int, help="Of training; 40 on digits, 2 on MNIST.")
@click.option("--eps", default=0.2, show_default=True, help="Linf radius of the planted defences.")
@click.option("--twin", is_flag=True, help="Tell the audit the undefended model.")
@click.option("--no-training", is_flag=True, help="Give the audit no training data.")
@click.option(
    "--set", "sets", multiple=True, default=["planted"], help="planted, developed, fresh, red_team."
)
@click.option("--only", multiple=True, help="Names of defences; all if not given.")
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
    no_training: bool,
    sets: tuple[str, ...],
    only: tuple[str, ...],
    defence: tuple[str, ...],
    skip_honest: bool,
    out: Path | None,
) -> None:
    settings: Settings = {"budget": BUDGETS[budget].with_images(images)}
    splits = load(data)
    x, y = splits.test.batch(slice(0, images))
    epochs = epochs or (40 if data == "digits" else 2)
    torch.manual_seed(0)
    base = fit(network(splits.train.shape), splits, epochs, plain)
    click.echo(f"{data}, {len(x)} images, Linf {eps:g}, budget {budget}")
    head = f"{'':26}{'clean':>7}{'FGSM':>7}{'PGD':>7}{'reached':>9}{'s':>7}"
    click.echo(f"{head}  verdict, failed checks")
    given = {} if no_training else {"training": splits.train.batch(slice(0, TRAINING))}
    bare = examine("undefended", base, x, y, eps=eps, **given, **settings)
    planted = []
    models = defended(sets, only, base, splits, epochs)
    models |= {spec: Defended(loaded(spec)(base), base) for spec in defence}
    for name, made in models.items():
        told = {"twin": made.known} if twin else {}
        model = made.model.eval()
        line = examine(name, model, x, y, eps=eps, **told, **given, **settings)
        line["knowing"] = knowing(Defended(model, made.known.eval()), x, y, eps, settings)
        click.echo(f"{'':26}the knowing attack leaves {100 * line['knowing']:.1f}")
        planted.append(line)
    honest = []
    if not skip_honest:
        for name, (model, claim) in honest_models(sets, splits, epochs, eps).items():
            line = examine(name, model, x, y, **claim, **given, **settings)
            if name.startswith("certified"):
                line["certified"] = certified(model, x, y, claim["eps"])
                click.echo(f"{'':26}certified: {100 * line['certified']:.1f}")
            honest.append(line)
    click.echo(summary(planted, honest))
    if out:
        report = {"data": data, "images": len(x), "eps": eps, "budget": budget}
        report |= {"undefended": bare, "planted": planted, "honest": honest}
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
