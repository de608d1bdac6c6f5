"""`narrows runs`: list, filter, compare, check, export and delete the runs of a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from narrows.commands._options import ANY_FILE, json_option, print_json

if TYPE_CHECKING:
    from narrows.stored.index import StoredRun

__all__ = ["command"]

_ENDINGS = {".csv": "csv", ".parquet": "parquet", ".db": "mlflow"}
_VIEWERS = {
    "mlflow": "mlflow ui --backend-store-uri sqlite:///{}",
    "tensorboard": "tensorboard --logdir {}",
}


@click.command("runs")
@click.argument("folder", required=False, type=ANY_FILE, default=Path("runs"))
@click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only runs with this data, method, network, adversarial, seeds, betas, models, epochs, "
    "state (complete, unfinished, unreadable) or name; repeatable, and VALUE,VALUE for either.",
)
@click.option(
    "--compare", nargs=2, metavar="NAME NAME", help="Print what differs between two runs."
)
@click.option("--verify", is_flag=True, help="Compare every file with its checksum.")
@click.option(
    "--export",
    type=ANY_FILE,
    help="Write every number to a FILE.csv, a FILE.parquet, MLflow's FILE.db, or a folder for "
    "TensorBoard.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "parquet", "mlflow", "tensorboard"]),
    help="Of the export.  [default: csv, parquet or mlflow by the ending of its name]",
)
@click.option("--prune", is_flag=True, help="Delete the runs that --where names, after a question.")
@click.option("--yes", is_flag=True, help="Delete without a question.")
@json_option
def command(
    folder: Path,
    where: tuple[str, ...],
    compare: tuple[str, str] | None,
    verify: bool,
    export: Path | None,
    kind: str | None,
    prune: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """List the runs of a FOLDER, "runs" where none is named.

    An index beside them is rebuilt from their own files wherever these have changed.
    """
    import msgspec

    from narrows.errors import ConfigError
    from narrows.stored.index import list_runs, matching

    actions = [bool(compare), verify, export is not None, prune]
    if sum(actions) > 1:
        raise ConfigError("--compare, --verify, --export and --prune exclude each other")
    if kind is not None and export is None:
        raise ConfigError("--format is that of an export; name its file or folder with --export")
    if compare:
        _compare(folder / compare[0], folder / compare[1], as_json)
        return
    runs = matching(list_runs(folder), where)
    paths = [folder / run.name for run in runs]
    if verify:
        _verify(paths, as_json)
    elif export is not None:
        _export(paths, export, kind, as_json)
    elif prune:
        if not where:
            raise ConfigError("--prune needs --where, like --where state=unfinished")
        if as_json and not yes:
            raise ConfigError("--prune with --json cannot ask a question; add --yes to delete")
        _prune(paths, yes, as_json)
    elif as_json:
        print_json([msgspec.structs.replace(run, marks=()) for run in runs])
    else:
        _show(runs, folder)


def _show(runs: list[StoredRun], folder: Path) -> None:
    rows = [("run", "state", "models", "data", "methods", "test accuracy", "changed")]
    rows += [_cells(run) for run in runs]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if runs else []:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
    complete = sum(run.state == "complete" for run in runs)
    models = sum(run.models for run in runs)
    click.echo(f"{len(runs)} runs in {folder}, {complete} complete, {models} models")


def _cells(run: StoredRun) -> tuple[str, ...]:
    changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.modified))
    accuracy = "" if run.accuracy is None else f"{run.accuracy:.1%}"
    methods = ",".join(run.methods)
    return (run.name, run.state, str(run.models), run.data, methods, accuracy, changed)


def _compare(first: Path, second: Path, as_json: bool) -> None:
    from narrows.stored.checking import compare_runs

    differences = compare_runs(first, second)
    if as_json:
        print_json([dict(zip(("name", "first", "second"), d, strict=True)) for d in differences])
        return
    for name, one, other in differences:
        click.echo(f"{name}: {one} -> {other}")
    click.echo(f"{len(differences)} differences between {first.name} and {second.name}")


def _verify(paths: list[Path], as_json: bool) -> None:
    from narrows.errors import StoreError
    from narrows.stored.checking import damage

    damaged = {str(path): lines for path in paths if (lines := damage(path))}
    if as_json:
        print_json(damaged)
    else:
        for line in (line for lines in damaged.values() for line in lines):
            click.echo(line)
        click.echo(f"{len(paths) - len(damaged)} of {len(paths)} runs are as they were written")
    if damaged:
        raise StoreError(f"{len(damaged)} of {len(paths)} runs are damaged")


def _export(paths: list[Path], target: Path, kind: str | None, as_json: bool) -> None:
    from narrows.errors import ConfigError
    from narrows.stored import exporting, tracking

    kind = kind or _ENDINGS.get(target.suffix)
    if kind is None:
        raise ConfigError(
            f"expected a {', '.join(f'FILE{ending}' for ending in _ENDINGS)}, or a folder with "
            f"--format tensorboard, got {target}"
        )
    if kind in ("csv", "parquet"):
        write = exporting.export_csv if kind == "csv" else exporting.export_parquet
        count = write(exporting.export_rows(paths), target)
    else:
        track = tracking.export_mlflow if kind == "mlflow" else tracking.export_tensorboard
        count = track(tracking.tracked_models(paths), target)
    label = {"mlflow": "store", "tensorboard": "folder"}.get(kind, "table")
    if as_json:
        print_json({"numbers": count, "runs": len(paths)}, **{label: target})
        return
    click.echo(f"{count} numbers of {len(paths)} runs")
    click.echo(f"{label.capitalize()}: {target}")
    if kind in _VIEWERS:
        click.echo(f"Show it with: {_VIEWERS[kind].format(target)}")


def _prune(paths: list[Path], yes: bool, as_json: bool) -> None:
    from narrows.stored.pruning import delete_runs, size_of

    if as_json:
        busy = delete_runs(paths)
        print_json({"deleted": [path for path in paths if path not in busy], "in_use": busy})
        return
    if not paths:
        click.echo("no run to delete")
        return
    for path in paths:
        click.echo(path)
    question = f"Delete these {len(paths)} runs, {size_of(paths) / 2**20:.1f} MiB?"
    if not yes and not click.confirm(question):
        click.echo("nothing was deleted")
        return
    busy = delete_runs(paths)
    for path in busy:
        click.echo(f"{path} is in use and stays")
    click.echo(f"{len(paths) - len(busy)} runs deleted")
