"""Reports: tables, charts and pages, drawn from records; nothing is loaded, solved or measured."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from narrows.runs import Run

__all__ = ["show_markdown", "show_table", "write_figures", "write_report"]


def show_table(run: Run, console: Console) -> None:
    """Print the short table of a complete run."""
    from narrows.report.tables import console_table

    console_table(run, console)


def show_markdown(run: Run, console: Console) -> None:
    """Print the long table of a complete run in Markdown."""
    from narrows.report.tables import full_table, markdown

    console.print(markdown(full_table(run)), soft_wrap=True, highlight=False, markup=False)


def write_report(run: Run) -> Path:
    """Write the HTML report of a complete run into its folder and return its path.

    Raises:
        StoreError: if the run is not complete, or the page cannot be written.
    """
    from narrows.report.html import write_html

    return write_html(run.require_complete())


def write_figures(run: Run, folder: Path, kind: str) -> list[Path]:
    """Write every chart of a complete run's report as a file, and return their paths.

    Args:
        run: a complete one.
        folder: is created where it is missing.
        kind: `"png"` or `"pdf"`.

    Raises:
        StoreError: if the run is not complete, or a file cannot be written.
    """
    from narrows.report.html import write_charts

    return write_charts(run.require_complete(), folder, kind)
