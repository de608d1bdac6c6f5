"""`narrows train`: one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from narrows.commands._options import ANY_FILE

__all__ = ["command"]


@click.command("train")
@click.argument("config", required=False, type=ANY_FILE)
@click.option("--data", help="Data set, as for `narrows run`.  [default: digits]")
@click.option("--method", help="Method; `narrows methods` lists them.")
@click.option("--beta", type=float, help="Weight of the compression I(X;Z); where there is one.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, noise and order.")
@click.option(
    "--adversarial", help="Adversarial training around the method: pgd_training, trades or mart."
)
@click.option("--network", help="Network, by name.  [default: the data set's own]")
@click.option(
    "--recipe", help="Published training recipe, like vib or ib-rar.  [default: the data set's own]"
)
@click.option("--epochs", type=int, help="Passes over the training set, at most.")
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
    help="Any other key, like train.batch_size=128 or options.trades.weight=3; repeatable.",
)
@click.option("--quiet", is_flag=True, help="Show errors, accuracy and the path of the weights.")
def command(
    config: Path | None,
    method: str | None,
    beta: float | None,
    seed: int,
    network: str | None,
    epochs: int | None,
    out: Path,
    overrides: tuple[str, ...],
    quiet: bool,
    **given: Any,
) -> None:
    """Train one model and measure it, without attacks.

    CONFIG is a TOML file with the keys of `narrows run`; options go over it. The folder is that of
    a run with one method, one beta and one seed: a finished model is not trained again, a broken
    run goes on. In Python, narrows.load_member(FOLDER) gives the model back.
    """
    from rich.console import Console

    from narrows.experiments.config import load_config
    from narrows.experiments.engine import run as run_experiment
    from narrows.experiments.progress import Progress
    from narrows.experiments.store import read_json

    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    values["evaluate"] = {"attack": False}
    if method is not None:
        values["methods"] = [method]
    if network is not None:
        values["network"] = {"name": network}
    if epochs is not None:
        values["train"] = {"epochs": epochs}
    resolved = load_config(config, values, overrides).only(beta, seed)
    folder = run_experiment(resolved, out, Progress(Console(quiet=quiet)))
    (name,) = resolved.methods
    (record,) = read_json(folder / name / "results.json")
    click.echo(
        f"Accuracy: {record['accuracy']['test']:.2%} on test data, "
        f"{record['accuracy']['validation']:.2%} on validation data (epoch {record['best_epoch']})"
    )
    click.echo(f"Weights: {folder / name / 'models.safetensors'}")
