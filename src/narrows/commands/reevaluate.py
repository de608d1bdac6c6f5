"""`narrows reevaluate`: accuracy under FGSM, and under PGD against the number of restarts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from narrows.commands._options import ANY_FILE, json_option, names, numbers, print_json

__all__ = ["command"]


@click.command("reevaluate")
@click.argument("folder", type=ANY_FILE)
@click.option("--methods", callback=names, help="Comma-separated methods.  [default: all]")
@click.option("--betas", callback=numbers, help="Comma-separated betas.  [default: all]")
@click.option(
    "--images",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Number of test images, the first ones.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--png", is_flag=True, help="Write each chart as a PNG file too.")
@click.option("--quiet", is_flag=True, help="Print only errors and the path of the page.")
@json_option
def command(
    folder: Path,
    methods: list[str] | None,
    betas: list[float] | None,
    images: int,
    device: str,
    png: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Attack every model of a run's FOLDER with FGSM and with PGD from many restarts.

    Under this test the apparent robustness of VIB disappeared (Korshunova et al. 2021, Figures 1, 2
    and 8). Results go to FOLDER/reevaluation, one file for each model. A model that has a file is
    not attacked again.
    """
    from rich.console import Console

    from narrows.experiments.reevaluation import reevaluate_run
    from narrows.report.page import write_pictures
    from narrows.report.reevaluation import reevaluation_sections, write_reevaluation
    from narrows.runs import Progress, Run

    run, progress = Run.open(folder), Progress(Console(quiet=quiet or as_json))
    result = reevaluate_run(run, methods, betas, images, device, progress)
    path = folder / "reevaluation" / "reevaluation.html"
    page = write_reevaluation(path, result)
    sections = reevaluation_sections(result) if png else []
    pictures = write_pictures(path.with_suffix(""), sections)
    if as_json:
        print_json({"pictures": pictures, **asdict(result)}, report=page)
        return
    for picture in pictures:
        click.echo(f"Picture: {picture}")
    click.echo(f"Report: {page}")
