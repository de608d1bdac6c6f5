"""Reports: the table on the terminal and one HTML file, both from the files of a run's folder."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from narrows.report.rows import load_run

__all__ = ["load_run", "show_markdown", "show_table", "write_report"]


def show_table(folder: Path, console: Console) -> None:
    """Print the short table of a finished run."""
    from narrows.report.tables import console_table

    console_table(load_run(folder), console)


def show_markdown(folder: Path, console: Console) -> None:
    """Print the long table of a finished run in Markdown."""
    from narrows.report.tables import full_table, markdown

    console.print(markdown(full_table(load_run(folder))), soft_wrap=True, highlight=False)


def write_report(folder: Path) -> Path:
    """Write the HTML report of a finished run into its folder and return its path.

    Raises:
        StoreError: if the folder is not one of a finished run, or cannot be written.
    """
    from narrows.report.html import write_html

    return write_html(load_run(folder))
