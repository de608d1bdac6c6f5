"""`narrows methods`: a table of the training methods."""

from __future__ import annotations

import click

from narrows.commands._options import json_option, print_json

__all__ = ["command"]

_WIDEST = {"needs": 14, "betas": 7}  # the rest leaves room for the longest word of a claim


@click.command("methods")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
@json_option
def command(markdown: bool, as_json: bool) -> None:
    """List the methods: what they are, where they were published, what they need of a network.

    Many models of a stackable method train in one vectorised step. The betas are the default grid
    of a sweep. The last rows are adversarial training, which can be put around any other method.
    """
    from narrows.methods.catalogue import catalogue
    from narrows.report.tables import ResultTable
    from narrows.report.tables import markdown as in_markdown

    if as_json:
        print_json([entry._asdict() for entry in catalogue()])
        return
    columns = ["method", "what it is", "source", "needs", "stackable", "betas"]
    rows = [
        [
            f"`{entry.name}`" if markdown else entry.name,
            entry.claim,
            entry.source,
            entry.needs,
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

    # The source stands below the claim: a column of its own would cut words on a narrow terminal.
    cells = [[name, f"{claim}\n{source}", *rest] for name, claim, source, *rest in rows]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, leading=1)
    columns[1:3] = ["what it is, source"]
    for column in columns:
        table.add_column(column, max_width=_WIDEST.get(column), overflow="fold")
    for row in cells:
        table.add_row(*row)
    Console().print(table, highlight=False)
