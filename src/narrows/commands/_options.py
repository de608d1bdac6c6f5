"""How the commands read options that several of them have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["ANY_FILE", "names", "numbers"]

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
