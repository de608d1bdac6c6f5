"""`narrows report`: the page of a run, written again."""

from __future__ import annotations

from pathlib import Path

import click

from narrows.commands._options import ANY_FILE

__all__ = ["command"]


@click.command("report")
@click.argument("folder", type=ANY_FILE)
@click.option(
    "--markdown", is_flag=True, help="Print the long table in Markdown and write nothing."
)
def command(folder: Path, markdown: bool) -> None:
    """Write the HTML report of a run's FOLDER again, and show its table."""
    from rich.console import Console

    from narrows.report import show_markdown, show_table, write_report
    from narrows.runs import Run

    run = Run.open(folder).require_complete()
    if markdown:
        show_markdown(run, Console())
        return
    page = write_report(run)
    show_table(run, Console())
    click.echo(f"Report: {page}")
