"""`narrows figure`: a figure of one of the papers, drawn from a run."""

from __future__ import annotations

from pathlib import Path

import click

from narrows.commands._options import ANY_FILE, json_option, print_json

__all__ = ["command"]

_NAMES = [
    *("vib-1", "vib-2", "aib-4", "aib-5", "aib-6", "imb-1"),
    *("ib-rar-3", "ib-rar-5", "reevaluation-5", "reevaluation-7"),
]


@click.command("figure")
@click.argument("name", type=click.Choice(_NAMES))
@click.argument("folder", type=ANY_FILE)
@click.option("--png", is_flag=True, help="Write each chart as a PNG file too.")
@click.option("--quiet", is_flag=True, help="Print only errors and the path of the page.")
@json_option
def command(name: str, folder: Path, png: bool, quiet: bool, as_json: bool) -> None:
    """Draw a figure of a paper from a run's FOLDER, into FOLDER/figures.

    vib-1: error and information over beta; vib-2: posteriors of two units; aib-4: IB curves, on
    twelve-bit data under the exact bound; aib-5: codes at three betas; aib-6: information and
    robustness over beta, with the knee; imb-1: the information plane of binary networks during
    training, from the folder of python -m narrows.papers.imb; ib-rar-3: the last hidden layer by
    t-SNE; ib-rar-5: how a layer depends on images and labels during training, from the folder
    planes/SCALE/ib-rar-plane of narrows reproduce; reevaluation-5: accuracy over beta on the first
    toy task, and its samples; reevaluation-7: the second; both from the folder toys/SCALE of
    narrows reproduce. The recipes in src/narrows/recipes name the figures that they are for.
    """
    from rich.console import Console

    from narrows.report.figures import FIGURES, draw_figure
    from narrows.report.page import write_pictures
    from narrows.runs import Progress

    page, sections = draw_figure(name, folder, Progress(Console(quiet=quiet or as_json)))
    pictures = write_pictures(page.with_suffix(""), sections) if png else []
    if as_json:
        figure = FIGURES[name]
        described = {"figure": name, "title": figure.title, "source": figure.source}
        print_json({**described, "pictures": pictures}, report=page)
        return
    for picture in pictures:
        click.echo(f"Picture: {picture}")
    click.echo(f"Report: {page}")
