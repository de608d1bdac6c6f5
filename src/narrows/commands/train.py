"""`narrows train`: one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from narrows.commands._options import json_option, print_json, run_options, run_values

__all__ = ["command"]


@click.command("train")
@run_options(
    click.option("--method", help="Method; `narrows methods` lists them."),
    click.option(
        "--beta", type=float, help="Weight of the compression I(X;Z), for methods that have one."
    ),
    click.option("--seed", type=int, help="Seed of weights, noise and data order.  [default: 0]"),
)
@json_option
def command(
    config: Path | None,
    method: str | None,
    beta: float | None,
    seed: int | None,
    out: Path,
    overrides: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train one model and measure it, without attacks.

    CONFIG is a TOML file with the keys of `narrows run`; options override it. The folder is that of
    a run with one method, one beta and one seed: a finished model is not trained again, and an
    interrupted training continues. In Python, narrows.load_member(FOLDER) returns the model.
    """
    from rich.console import Console

    from narrows.runs import Progress, carry_out_together, load_config

    values = run_values(given, overrides) | {"evaluate": {"attack": False}}
    if method is not None:
        values["methods"] = [method]
    resolved = load_config(config, values, overrides)
    resolved = resolved.only(beta, resolved.first_seed if seed is None else seed)
    finished = carry_out_together(resolved, out, Progress(Console(quiet=quiet or as_json)))
    if finished is None:
        return
    (record,) = finished.records()
    weights = finished.files(record.method).models
    if as_json:
        print_json(record, folder=finished.path, weights=weights)
        return
    click.echo(
        f"Accuracy: {record.accuracy.test:.2%} on test data, "
        f"{record.accuracy.validation:.2%} on validation data (epoch {record.best_epoch})"
    )
    click.echo(f"Weights: {weights}")
