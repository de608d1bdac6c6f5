"""`narrows estimators`: what information can be estimated with."""

from __future__ import annotations

import click

from narrows.commands._options import json_option, print_json

__all__ = ["command"]

_WIDEST = {"measures": 9, "needs": 30}


@click.command("estimators")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
@json_option
def command(markdown: bool, as_json: bool) -> None:
    """List the estimators of information: what they measure, what they need, where they are from.

    Each is a function of narrows.information. Two quantities in one row are measured in one call.
    Estimators that draw random numbers take a seed or a generator.
    """
    from narrows.information import ESTIMATORS
    from narrows.report.tables import ResultTable
    from narrows.report.tables import markdown as in_markdown

    if as_json:
        fields = ("claim", "source", "measures", "needs", "randomness")
        print_json(
            [
                {"name": name} | {field: getattr(entry, field) for field in fields}
                for name, entry in ESTIMATORS.items()
            ]
        )
        return
    columns = ["estimator", "what it is", "source", "measures", "needs", "draws"]
    rows = [
        [
            f"`{name}`" if markdown else name,
            entry.claim,
            entry.source,
            ", ".join(entry.measures),
            entry.needs,
            "no" if entry.randomness == "none" else entry.randomness,
        ]
        for name, entry in ESTIMATORS.items()
    ]
    if markdown:
        click.echo(in_markdown(ResultTable(columns, rows)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # On a terminal, what an estimator is stands below its name, and its source below that.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, leading=1)
    for column in ("estimator, what it is, source", *columns[3:]):
        table.add_column(column, max_width=_WIDEST.get(column), overflow="fold")
    for name, claim, source, *others in rows:
        table.add_row(f"{name}\n{claim}\n{source}", *others)
    Console().print(table, highlight=False, markup=False)
