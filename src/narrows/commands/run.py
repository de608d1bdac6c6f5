"""`narrows run`: train, measure, attack and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from narrows.commands._options import ANY_FILE, names, numbers

__all__ = ["command"]


@click.command("run")
@click.argument("config", required=False, type=ANY_FILE)
@click.option(
    "--data",
    help="Data set: digits (embedded), mnist, fashion-mnist, cifar10, cifar100, svhn, "
    "tiny-imagenet, twelve-bit, toy1, toy2.  [default: digits]",
)
@click.option(
    "--methods",
    callback=names,
    help="Methods, with commas between them: cross_entropy, dropout, label_smoothing, "
    "confidence_penalty, vib, ceb, nib, aib, hbar, ib_rar, sfnn, joint_imb, greedy_imb.  "
    "[default: cross_entropy,vib,aib]",
)
@click.option(
    "--betas",
    callback=numbers,
    help="Weights of the compression I(X;Z), in nats of "
    "loss a nat, with commas between them.  [default: each method's own six]",
)
@click.option("--seeds", type=int, help="Seeds a beta, counted from 0.  [default: 3]")
@click.option(
    "--epochs",
    type=int,
    help="Passes over the training set, at most.  [default: digits 100, mnist 60, ...]",
)
@click.option(
    "--eps",
    callback=numbers,
    help="Linf radii of FGSM and PGD, in units of the [0, 1] "
    "image range.  [default: .02,.05,.1,.15,.2,.3]",
)
@click.option(
    "--adversarial",
    help="Adversarial training around every method: pgd_training, trades or mart.  [default: none]",
)
@click.option(
    "--recipe",
    help="Published training recipe: vib, vib-cifar10, ceb-cifar10, aib, hbar-mnist, "
    "hbar-cifar10, ib-rar, ib-rar-adversarial, imb, imb-cifar10, imb-as-coded.  "
    "[default: the data set's own]",
)
@click.option("--device", help="cpu, cuda or cuda:N.  [default: cpu]")
@click.option(
    "--out",
    type=ANY_FILE,
    default=Path("runs"),
    show_default=True,
    help="Folder that the run's own folder is made in.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other key, like train.batch_size=128 or options.aib.steps=2; repeatable.",
)
@click.option("--quiet", is_flag=True, help="Show errors and the path of the report only.")
def command(
    config: Path | None,
    epochs: int | None,
    out: Path,
    overrides: tuple[str, ...],
    quiet: bool,
    **given: Any,
) -> None:
    """Train, measure, attack and report: the whole way, on one data set.

    CONFIG is a TOML file with the same keys; options go over it. Everything is written to
    OUT/<data>-<hash of the configuration>: a finished run is not repeated, a broken one goes on.
    Without arguments it trains cross-entropy, VIB and AIB on the embedded digits in about two
    minutes on two cores.
    """
    from rich.console import Console

    from narrows.experiments.config import load_config
    from narrows.experiments.engine import run as run_experiment
    from narrows.experiments.progress import Progress
    from narrows.report import show_table, write_report

    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if (eps := values.pop("eps", None)) is not None:
        values["evaluate"] = {"eps": eps}
    if epochs is not None:
        values["train"] = {"epochs": epochs}
    console = Console(quiet=quiet)
    resolved = load_config(config, values, overrides)
    folder = run_experiment(resolved, out, Progress(console))
    show_table(folder, console)
    click.echo(f"Report: {write_report(folder)}")
