"""`narrows knee`: the knee of the IB curve of each method of a run, with its uncertainty."""

from __future__ import annotations

from pathlib import Path

import click

from narrows.commands._options import ANY_FILE, json_option, print_json

__all__ = ["command"]


@click.command("knee")
@click.argument("folder", type=ANY_FILE)
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    default="train",
    show_default=True,
    help="Data that the curve was measured on; use training data to choose a beta.",
)
@json_option
def command(folder: Path, split: str, as_json: bool) -> None:
    """Find the knee of each method's IB curve in a run's FOLDER.

    The table also shows the 95 % interval of the knee when seeds are resampled with replacement,
    the share of the resampled curves that have a clear knee, and a second criterion: the smallest
    I(X;Z) whose I(Z;Y) is within one standard error of the best.
    """
    from rich.console import Console

    from narrows.report.knees import knee_table
    from narrows.report.tables import markdown
    from narrows.runs import Run
    from narrows.runs.knees import find_knee

    run = Run.open(folder).require_complete()
    knees = {method: find_knee(run.records([method]), split) for method in run.config.methods}
    if as_json:
        print_json(knees)
    else:
        text = markdown(knee_table(knees))
        Console().print(text, soft_wrap=True, highlight=False, markup=False)
