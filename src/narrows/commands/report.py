"""`narrows report`: the page of a run, written again, or a comparison of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from narrows.commands._options import ANY_FILE, json_option, print_json

if TYPE_CHECKING:
    from narrows.runs import Run

__all__ = ["command"]


@click.command("report")
@click.argument("folders", type=ANY_FILE, nargs=-1, required=True)
@click.option("--markdown", is_flag=True, help="Print the table in Markdown and write nothing.")
@click.option("--png", type=ANY_FILE, help="Folder for every figure of the page as a PNG file.")
@click.option("--pdf", type=ANY_FILE, help="Folder for every figure of the page as a PDF file.")
@click.option(
    "--out",
    type=ANY_FILE,
    help="HTML page of a comparison.  [default: comparison.html beside the first run]",
)
@json_option
def command(
    folders: tuple[Path, ...],
    markdown: bool,
    png: Path | None,
    pdf: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Write the HTML report of a run again, and show its table.

    FOLDERS is the folder of a run. Of several runs, or of a folder that holds several (the OUT of
    a sweep), one page shows all finished runs side by side.
    """
    from narrows.errors import ConfigError

    pictures = {kind: place for kind, place in (("png", png), ("pdf", pdf)) if place is not None}
    if markdown and (pictures or out is not None):
        raise ConfigError("--markdown writes nothing; leave out --png, --pdf and --out")
    runs = _open(folders)
    if len(runs) > 1:
        _compare(runs, out or runs[0].path.parent / "comparison.html", markdown, pictures, as_json)
    elif out is not None:
        raise ConfigError("--out is for the page of several runs; that of one is in its folder")
    else:
        _report(runs[0], markdown, pictures, as_json)


def _open(folders: Sequence[Path]) -> list[Run]:
    """The runs that are named, and the finished ones in folders that hold runs."""
    from narrows.runs import Run
    from narrows.stored.index import list_runs

    runs = []
    for folder in folders:
        inside = [] if (folder / "config.json").exists() else list_runs(folder)
        finished = [folder / run.name for run in inside if run.state == "complete"]
        runs += [Run.open(path) for path in finished or [folder]]
    return runs


def _report(run: Run, markdown: bool, pictures: Mapping[str, Path], as_json: bool) -> None:
    from rich.console import Console

    from narrows.report import show_markdown, show_table, write_figures, write_report

    run.require_complete()
    if markdown:
        show_markdown(run, Console())
        return
    page = write_report(run)
    paths = [path for kind, place in pictures.items() for path in write_figures(run, place, kind)]
    if as_json:
        print_json({"summary": run.summary, "pictures": paths}, folder=run.path, report=page)
        return
    show_table(run, Console())
    _show_paths(paths, page)


def _compare(
    runs: Sequence[Run], out: Path, markdown: bool, pictures: Mapping[str, Path], as_json: bool
) -> None:
    from rich.console import Console

    from narrows.report.comparison import (
        compared_runs,
        comparison_sections,
        comparison_table,
        write_comparison,
    )
    from narrows.report.page import write_pictures
    from narrows.report.tables import markdown as as_markdown

    named = compared_runs(runs)
    if not as_json:
        text = as_markdown(comparison_table(named))
        Console().print(text, soft_wrap=True, highlight=False, markup=False)
    if markdown:
        return
    page, sections = write_comparison(out, named), comparison_sections(named)
    paths = [
        path
        for kind, place in pictures.items()
        for path in write_pictures(place / "comparison", sections, kind)
    ]
    if as_json:
        summaries = {name: run.summary for name, run in named.items()}
        print_json({"summaries": summaries, "pictures": paths}, report=page)
        return
    _show_paths(paths, page)


def _show_paths(pictures: Sequence[Path], page: Path) -> None:
    for picture in pictures:
        click.echo(f"Picture: {picture}")
    click.echo(f"Report: {page}")
