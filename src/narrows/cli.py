"""The command `narrows`: thin. It reads options, calls the library, and says errors in one line.

Nothing heavy is imported here at the top: `--help` must not wait for torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from narrows.errors import NarrowsError

__all__ = ["cli", "main"]

_ANY_FILE = click.Path(path_type=Path)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit with 2 and one line where the user can mend it."""
    try:
        code = cli.main(arguments, prog_name="narrows", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except NarrowsError as error:
        click.echo(f"narrows: {' '.join(str(error).split())}", err=True)
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "narrows: interrupted. The same command goes on from the last checkpoint.", err=True
        )
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _numbers(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(
            f"expected numbers with commas between them, like 0.01,0.1, got {value!r}"
        ) from error


def _names(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    return None if value is None else [part.strip() for part in value.split(",")]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="narrows")
def cli() -> None:
    """Train through an information bottleneck, measure what passes, attack what comes out."""


@cli.command()
@click.argument("config", required=False, type=_ANY_FILE)
@click.option(
    "--data",
    help="Data set: digits (embedded), mnist, fashion-mnist, twelve-bit, toy1, "
    "toy2.  [default: digits]",
)
@click.option(
    "--methods",
    callback=_names,
    help="Methods, with commas between them: cross_entropy, dropout, label_smoothing, "
    "confidence_penalty, vib, ceb, nib, aib, hbar, ib_rar.  [default: cross_entropy,vib,aib]",
)
@click.option(
    "--betas",
    callback=_numbers,
    help="Weights of the compression I(X;Z), in nats of "
    "loss a nat, with commas between them.  [default: each method's own six]",
)
@click.option("--seeds", type=int, help="Seeds a beta, counted from 0.  [default: 3]")
@click.option(
    "--epochs",
    type=int,
    help="Passes over the training set, at most.  [default: digits 100, mnist 60, ...]",
)
@click.option(
    "--eps",
    callback=_numbers,
    help="Linf radii of FGSM and PGD, in units of the [0, 1] "
    "image range.  [default: .02,.05,.1,.15,.2,.3]",
)
@click.option("--device", help="cpu, cuda or cuda:N.  [default: cpu]")
@click.option(
    "--out",
    type=_ANY_FILE,
    default=Path("runs"),
    show_default=True,
    help="Folder that the run's own folder is made in.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other key, like train.batch_size=128 or options.aib.steps=2; repeatable.",
)
@click.option("--quiet", is_flag=True, help="Show errors and the path of the report only.")
def run(
    config: Path | None,
    epochs: int | None,
    out: Path,
    overrides: tuple[str, ...],
    quiet: bool,
    **given: Any,
) -> None:
    """Train, measure, attack and report: the whole way, on one data set.

    CONFIG is a TOML file with the same keys; options go over it. Everything is written to
    OUT/<data>-<hash of the configuration>: a finished run is not repeated, a broken one goes on.
    Without arguments it trains cross-entropy, VIB and AIB on the embedded digits in about two
    minutes on two cores.
    """
    from rich.console import Console

    from narrows.experiments.config import load_config
    from narrows.experiments.engine import run as run_experiment
    from narrows.experiments.progress import Progress
    from narrows.report import show_table, write_report

    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if (eps := values.pop("eps", None)) is not None:
        values["evaluate"] = {"eps": eps}
    if epochs is not None:
        values["train"] = {"epochs": epochs}
    console = Console(quiet=quiet)
    resolved = load_config(config, values, overrides)
    folder = run_experiment(resolved, out, Progress(console))
    show_table(folder, console)
    click.echo(f"Report: {write_report(folder)}")


@cli.command()
@click.argument("folder", type=_ANY_FILE)
@click.option(
    "--markdown", is_flag=True, help="Print the long table in Markdown and write nothing."
)
def report(folder: Path, markdown: bool) -> None:
    """Write the HTML report of a run's FOLDER again, and show its table."""
    from rich.console import Console

    from narrows.report import show_markdown, show_table, write_report

    if markdown:
        show_markdown(folder, Console())
        return
    show_table(folder, Console())
    click.echo(f"Report: {write_report(folder)}")


if __name__ == "__main__":
    main()
