"""`narrows methods`: what there is to train with."""

from __future__ import annotations

import click

__all__ = ["command"]

_WIDEST = {"needs": 14, "betas": 7}  # the rest is room for the longest word of what a method is


@click.command("methods")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
def command(markdown: bool) -> None:
    """List the methods: what they are, where they are from, what they need of a network.

    Stackable are those of which many models train in one vectorised step. The betas are those of a
    sweep that names none. The last rows are adversarial training, which wraps any of the others.
    """
    from narrows.report.tables import ResultTable
    from narrows.report.tables import markdown as in_markdown
    from narrows.runs.catalogue import catalogue

    columns = ["method", "what it is", "source", "needs", "stackable", "betas"]
    rows = [
        [
            f"`{entry.name}`" if markdown else entry.name,
            entry.what,
            entry.source,
            ", ".join(entry.needs) or "any classifier",
            "yes" if entry.stackable else "no",
            ", ".join(f"{beta:g}" for beta in entry.betas) or "-",
        ]
        for entry in catalogue()
    ]
    if markdown:
        click.echo(in_markdown(ResultTable(columns, rows)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # The source stands below what it is: a column of its own would cut words on a narrow terminal.
    cells = [
        [name, f"{what}\n{source}".removesuffix("\n-"), *rest] for name, what, source, *rest in rows
    ]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, leading=1)
    columns[1:3] = ["what it is, source"]
    for column in columns:
        table.add_column(column, max_width=_WIDEST.get(column), overflow="fold")
    for row in cells:
        table.add_row(*row)
    Console().print(table, highlight=False)
