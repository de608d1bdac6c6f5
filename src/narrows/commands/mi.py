"""`narrows mi`: the information in two files of samples, and whether it can be believed."""

from __future__ import annotations

from pathlib import Path

import click

from narrows.commands._options import ANY_FILE, json_option, listed, names, print_json

__all__ = ["command"]


@click.command("mi")
@click.argument("x", type=ANY_FILE)
@click.argument("z", type=ANY_FILE)
@click.option(
    "--estimators",
    callback=names,
    help="Comma-separated names of "
    f"{listed('narrows.information.registry', 'ESTIMATORS')}.  [default: all that apply]",
)
@click.option(
    "--draws", default=2, show_default=True, help="Calibration sets per level of information."
)
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
@json_option
def command(
    x: Path, z: Path, estimators: list[str] | None, draws: int, seed: int, as_json: bool
) -> None:
    """Estimate the mutual information of the samples in two files, row by row.

    X and Z are .npy, .npz or .csv files with one row for each sample; FILE.npz:NAME names an array.
    A single column of whole numbers holds labels; write them with a decimal point to have them
    taken for numbers. Every estimator that applies is also tested on calibration sets with as many
    samples and columns, whose mutual information is known. If it is wrong there, its estimate is
    marked as not believable. JSON is in nats.
    """
    from narrows.information import estimate
    from narrows.information.samples import read_samples

    survey = estimate(read_samples(x), read_samples(z), estimators, draws, seed)
    if as_json:
        print_json(survey)
    else:
        click.echo(survey)
