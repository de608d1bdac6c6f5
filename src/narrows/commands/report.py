"""`narrows report`: the page of a run, written again."""

from __future__ import annotations

from pathlib import Path

import click

from narrows.commands._options import ANY_FILE, json_option, print_json

__all__ = ["command"]


@click.command("report")
@click.argument("folder", type=ANY_FILE)
@click.option(
    "--markdown", is_flag=True, help="Print the long table in Markdown and write nothing."
)
@json_option
def command(folder: Path, markdown: bool, as_json: bool) -> None:
    """Write the HTML report of a run's FOLDER again, and show its table."""
    from rich.console import Console

    from narrows.report import show_markdown, show_table, write_report
    from narrows.runs import Run

    run = Run.open(folder).require_complete()
    if markdown:
        show_markdown(run, Console())
        return
    page = write_report(run)
    if as_json:
        print_json({"summary": run.summary}, folder=run.path, report=page)
        return
    show_table(run, Console())
    click.echo(f"Report: {page}")
