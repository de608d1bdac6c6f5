"""`narrows reproduce`: tables and figures of the papers, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from narrows.commands._options import ANY_FILE, json_option, print_json

__all__ = ["command"]


@click.command("reproduce")
@click.argument("names", nargs=-1)
@click.option(
    "--list", "listing", is_flag=True, help="Show what there is, what it needs and its state."
)
@click.option(
    "--scale",
    type=click.Choice(["smoke", "short", "paper"]),
    default="short",
    show_default=True,
    help="smoke: seconds, to see that it works; short: hours on two cores; paper: its own length.",
)
@click.option(
    "--queue",
    is_flag=True,
    help="Work off all NAMES, by default everything, at the lowest priority on one thread; what "
    "cannot be done is named and left out.",
)
@click.option(
    "--use",
    multiple=True,
    metavar="RUN=FOLDER",
    help="Take a finished run instead of training; RUN is its name in the table. Repeatable.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--out",
    type=ANY_FILE,
    default=Path("runs"),
    show_default=True,
    help="Folder of the runs.",
)
@click.option(
    "--results",
    type=ANY_FILE,
    help="Folder of the records, one small JSON file for each table.  [default: OUT/reproduction]",
)
@click.option(
    "--markdown", is_flag=True, help="Print NAMES, by default everything, as it stands in the docs."
)
@json_option
@click.option("--quiet", is_flag=True, help="Show errors and results only.")
def command(
    names: tuple[str, ...],
    listing: bool,
    scale: Literal["smoke", "short", "paper"],
    queue: bool,
    use: tuple[str, ...],
    device: str,
    out: Path,
    results: Path | None,
    markdown: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make tables and figures of the papers again: NAMES like aib-table1-mnist, or aib-table1 for
    all of its parts.

    Training, attacks and audits go through ordinary runs in OUT, so a broken attempt continues, and
    a second one repeats nothing. Every number is shown beside the paper's, with its spread, the
    difference in standard errors, and what the audit says of the robustness that is claimed.
    """
    from rich.console import Console

    from narrows.reproduction import console as shown
    from narrows.reproduction.markdown import table_markdown
    from narrows.reproduction.overview import overview
    from narrows.reproduction.tables import find_tables, load_table, table_names

    console = Console()
    records = results or out / "reproduction"
    if listing:
        if as_json:
            print_json(overview(records))
        else:
            console.print(shown.list_table(overview(records)))
        return
    if not names and not (queue or markdown):
        raise click.UsageError("name a table or figure, like vib-table1; --list shows all of them")
    tables = [table for name in names for table in find_tables(name)]
    tables = tables or [load_table(name) for name in table_names()]
    if markdown:
        click.echo("\n\n".join(table_markdown(table, records) for table in tables))
        return

    from narrows.reproduction.carry import reproduce
    from narrows.reproduction.queue import work_off
    from narrows.runs import Progress

    progress = Progress(Console(quiet=quiet or as_json))
    if queue:
        left_out = work_off(tables, scale, out, records, progress, device)
        if as_json:
            done = [table.name for table in tables if table.name not in left_out]
            print_json({"done": done, "left_out": left_out})
        return
    folders, finished = _folders(use), []
    for table in tables:
        record = reproduce(table, scale, out, records, progress, device=device, use=folders)
        finished.append(record)
        if not as_json:
            console.print(shown.result_table(table, record))
            path = records / f"{table.name}-{scale}.json"
            click.echo("\n".join([*shown.audit_lines(record), f"Record: {path}"]))
    if as_json:
        print_json(finished[0] if len(finished) == 1 else finished)


def _folders(use: tuple[str, ...]) -> dict[str, Path]:
    folders = {}
    for text in use:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise click.BadParameter(f"expected RUN=FOLDER, got {text!r}", param_hint="--use")
        folders[name] = Path(folder)
    return folders
