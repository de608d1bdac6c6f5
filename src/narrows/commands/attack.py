"""`narrows attack`: one attack, or an ensemble, on one model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from narrows.commands._options import (
    ANY_FILE,
    json_option,
    listed,
    normalisation,
    print_json,
    target_options,
)

__all__ = ["command"]


@click.command("attack")
@target_options
@click.option(
    "--attack",
    "name",
    default="standard",
    show_default=True,
    help="standard or reevaluation (ensembles), or one attack: "
    f"{listed('narrows.attacks', 'ATTACKS')}. adaptive takes --set objective=rate, or "
    "objective=method for the loss of the training; backend is for Python only.",
)
@click.option(
    "--eps", type=float, help="Radius in units of the [0, 1] range, for attacks that have one."
)
@click.option("--norm", help="linf, l2, l1 or l0.  [default: the attack's own]")
@click.option(
    "--target",
    "towards",
    default="",
    metavar="CLASS",
    help="A class to reach, 0, 1, ..., or next, random or least_likely; any other wrong class then "
    "counts for nothing.  [default: any wrong class]",
)
@click.option(
    "--mode",
    type=click.Choice(["sample", "mean"]),
    default="sample",
    show_default=True,
    help="Draw a stochastic latent, or decode its mean.",
)
@click.option(
    "--images",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Number of test images, the first ones.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other argument of the attack, like steps=100 or draws=16; repeatable.",
)
@click.option(
    "--out",
    type=ANY_FILE,
    help="Folder of the ledger; an interrupted ensemble continues there.  [default: in attacks/]",
)
@json_option
def command(
    target: str,
    data: str | None,
    method: str | None,
    beta: float | None,
    seed: int | None,
    device: str,
    mean: list[float] | None,
    std: list[float] | None,
    name: str,
    eps: float | None,
    norm: str | None,
    towards: str,
    mode: Literal["mean", "sample"],
    images: int,
    overrides: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Attack a model on the first test images.

    TARGET is a run's folder (with --method, --beta and --seed where it has several), a
    models.safetensors in one, or file.py:function, which returns any torch.nn.Module that takes
    images in [0, 1] and returns logits (with --data). The accuracy that is left is an upper bound
    of the robust accuracy; `narrows audit` says whether to believe it.
    """
    from rich.console import Console

    from narrows.experiments.attacking import attack_target, build_attack
    from narrows.experiments.targets import load_target
    from narrows.report.attack import attack_table
    from narrows.runs import Progress

    attack = build_attack(name, eps, norm, overrides)
    model = load_target(target, data, method, beta, seed, normalisation(mean, std)).to(device)
    console = Console(quiet=as_json)
    report, folder = attack_target(
        model, name, attack, mode, images, out, Progress(console), towards
    )
    if as_json:
        print_json(report, folder=folder)
        return
    console.print(attack_table(report))
    click.echo(f"Ledger and record.json: {folder}")
