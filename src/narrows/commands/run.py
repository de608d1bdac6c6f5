"""`narrows run`: train, measure, attack and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from narrows.commands._options import listed, names, numbers, run_options, run_values

__all__ = ["command"]


@click.command("run")
@run_options(
    click.option(
        "--methods",
        callback=names,
        help=f"Comma-separated methods: {listed('narrows.methods', 'METHODS')}.  "
        "[default: cross_entropy,vib,aib]",
    ),
    click.option(
        "--betas",
        callback=numbers,
        help="Comma-separated values of beta, the weight of the compression I(X;Z).  "
        "[default: six values for each method]",
    ),
    click.option("--seeds", type=int, help="Number of seeds per beta, from 0.  [default: 3]"),
    click.option(
        "--eps",
        callback=numbers,
        help="Linf radii of FGSM and PGD, in units of the [0, 1] image range.  "
        "[default: .02,.05,.1,.15,.2,.3]",
    ),
)
def command(
    config: Path | None, out: Path, overrides: tuple[str, ...], quiet: bool, **given: Any
) -> None:
    """Train models on one data set, measure and attack them, and write a report.

    CONFIG is a TOML file with the same keys, or the config.json of a run; options override it.
    Everything is written to OUT/<data>-<hash of configuration and data>: a finished run is not
    repeated, and an interrupted one continues.
    Without arguments it trains cross-entropy, VIB and AIB on the embedded digits in about two
    minutes on two cores.
    """
    from rich.console import Console

    from narrows.report import show_table, write_report
    from narrows.runs import Progress, carry_out, load_config

    console = Console(quiet=quiet)
    resolved = load_config(config, run_values(given, overrides), overrides)
    finished = carry_out(resolved, out, Progress(console))
    page = write_report(finished)
    show_table(finished, console)
    click.echo(f"Report: {page}")
    finished.check_diverged()
