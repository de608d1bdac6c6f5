"""`narrows sweep`: a grid of runs, planned, then carried out here or on a cluster."""

from __future__ import annotations

from pathlib import Path

import click

from narrows.commands._options import ANY_FILE, json_option, print_json

__all__ = ["command"]


@click.command("sweep")
@click.argument("grid", type=ANY_FILE)
@click.option("--dry-run", is_flag=True, help="Count and measure, and carry nothing out.")
@click.option("--yes", is_flag=True, help="Carry out a sweep of more than 10,000 models.")
@click.option(
    "--engine",
    default="local",
    show_default=True,
    help="local, or dask (pip install 'narrows[dask]').",
)
@click.option("--address", help="Dask scheduler, like tcp://host:8786.  [default: a new cluster]")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes of a new Dask cluster on this machine.  [default: one per core]",
)
@click.option(
    "--out",
    type=ANY_FILE,
    default=Path("runs"),
    show_default=True,
    help="Folder that the folders of the runs are made in.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other key, like train.epochs=10 or seeds=3; repeatable.",
)
@json_option
@click.option("--quiet", is_flag=True, help="Show errors and the last line only.")
def command(
    grid: Path,
    dry_run: bool,
    yes: bool,
    engine: str,
    address: str | None,
    workers: int | None,
    out: Path,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Carry out every run of a GRID, and attack the finished models.

    GRID is a TOML file with the keys of `narrows run`, a table [grid] with lists of values of
    further keys, and tables [attacks.NAME]. Every run has its own folder in OUT, as `narrows run`
    writes it. The same command continues a sweep that was stopped, and an attack that was added
    to GRID trains nothing again.
    """
    from rich.console import Console

    from narrows.report.sweeps import plan_text, show_plan
    from narrows.runs import Progress
    from narrows.sweeps import carry_out_sweep, plan_sweep, read_grid
    from narrows.sweeps.grid import check_size

    sweep = read_grid(grid, overrides)
    console = Console(quiet=quiet or as_json)
    if dry_run:
        plan = plan_sweep(sweep)
        if as_json:
            print_json(plan)
            return
        show_plan(plan, Console())
        click.echo(plan_text(plan))
        return
    check_size(sweep, yes=yes)
    results = list(
        carry_out_sweep(
            sweep, out, engine, address=address, workers=workers, progress=Progress(console)
        )
    )
    if as_json:
        print_json(results)
    failed = [result for result in results if result.error is not None]
    models = sum(result.members for result in results)
    if not as_json:
        done = len(results) - len(failed)
        click.echo(f"{done} of {len(results)} runs complete, {models} models in {out}")
    if failed:
        from narrows.errors import NarrowsError

        first = failed[0]
        raise NarrowsError(
            f"{len(failed)} of {len(results)} runs failed; {first.label}: {first.error}"
        )
