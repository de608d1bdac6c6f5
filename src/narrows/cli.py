"""The command `narrows`: thin. It reads options, calls the library, and says errors in one line.

Nothing heavy is imported here at the top: `--help` must not wait for torch.
"""

from __future__ import annotations

import sys

import click

from narrows.commands import (
    attack,
    audit,
    figure,
    knee,
    methods,
    plane,
    reevaluate,
    report,
    run,
    train,
)
from narrows.errors import NarrowsError

__all__ = ["cli", "main"]


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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="narrows")
def cli() -> None:
    """Train through an information bottleneck, measure what passes, attack what comes out."""


for module in (run, train, attack, audit, reevaluate, knee, plane, figure, report, methods):
    cli.add_command(module.command)


if __name__ == "__main__":
    main()
