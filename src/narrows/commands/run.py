"""`narrows run`: train, measure, attack and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from narrows.commands._options import grid_options, json_option, print_json, run_options, run_values

__all__ = ["command"]


@click.command("run")
@run_options(*grid_options())
@json_option
def command(
    config: Path | None,
    out: Path,
    overrides: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train models on one data set, measure and attack them, and write a report.

    CONFIG is a TOML file with the same keys, or the config.json of a run; options override it.
    Everything is written to OUT/<data>-<hash of configuration and data>: a finished run is not
    repeated, and an interrupted one continues.
    Without arguments it trains cross-entropy, VIB and AIB on the embedded digits in about half a
    minute on two cores.
    """
    from rich.console import Console

    from narrows.report import show_table, write_report
    from narrows.runs import Progress, carry_out_together, load_config

    console = Console(quiet=quiet or as_json)
    resolved = load_config(config, run_values(given, overrides), overrides)
    finished = carry_out_together(resolved, out, Progress(console))
    if finished is None:
        return
    page = write_report(finished)
    if as_json:
        print_json({"summary": finished.summary}, folder=finished.path, report=page)
    else:
        show_table(finished, console)
        click.echo(f"Report: {page}")
    finished.check_diverged()
