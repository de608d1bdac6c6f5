"""`narrows config`: every setting that a run would have, as TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from narrows.commands._options import (
    config_options,
    grid_options,
    json_option,
    print_json,
    run_values,
)

__all__ = ["command"]


@click.command("config")
@config_options(*grid_options())
@json_option
def command(config: Path | None, overrides: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Print every setting of a run as TOML; nothing is trained.

    It takes what `narrows run` takes: CONFIG is a TOML file or the config.json of a run, and
    options go over it. Save the output as FILE.toml: `narrows run FILE.toml` writes to the same
    folder as `narrows run` with these options.
    """
    from narrows.runs import load_config
    from narrows.runs.toml import config_toml

    resolved = load_config(config, run_values(given, overrides), overrides)
    if as_json:
        print_json(resolved)
    else:
        click.echo(config_toml(resolved), nl=False)
