"""How the commands read options that several of them have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["ANY_FILE", "names", "numbers", "target_options"]

ANY_FILE = click.Path(path_type=Path)


def numbers(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Numbers with commas between them."""
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(
            f"expected numbers with commas between them, like 0.01,0.1, got {value!r}"
        ) from error


def names(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Words with commas between them."""
    return None if value is None else [part.strip() for part in value.split(",")]


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument TARGET and what tells its model apart from others."""
    for option in (
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
        click.option("--seed", type=int, help="Which seed of the run.  [default: its first]"),
        click.option("--beta", type=float, help="Which beta.  [default: validation's choice]"),
        click.option("--method", help="Which method of the run; its only one needs no name."),
        click.option("--data", help="Data set.  [default: the run's own]"),
        click.argument("target"),
    ):
        command = option(command)
    return command
