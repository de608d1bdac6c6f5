"""The command `narrows`: it reads options, calls the library, and reports errors in one line.

Nothing heavy is imported here at the top: `--help` must not wait for torch.
"""

from __future__ import annotations

import errno
import sys

import click

from narrows.commands import (
    attack,
    audit,
    config,
    estimators,
    export,
    figure,
    knee,
    methods,
    mi,
    plane,
    reevaluate,
    report,
    reproduce,
    run,
    runs,
    sweep,
    train,
)
from narrows.errors import NarrowsError
from narrows.streams import TolerantStream, tolerant_output

__all__ = ["cli", "main"]

_USER_ERROR, _INTERRUPTED = 2, 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit with 2 and one line where the user can correct something."""
    with tolerant_output() as output:
        code = _run(arguments)
        output.flush()
        code = code or _check_output(output)
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name="narrows", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return _USER_ERROR
    except (click.Abort, KeyboardInterrupt):
        return _fail(
            "interrupted. What is finished is kept; the same command continues", _INTERRUPTED
        )
    except NarrowsError as error:
        return _fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}")
    except MemoryError:
        return _fail("the memory is full; take a smaller batch, network or number of models")
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        return _fail(f"the memory is full ({str(error).splitlines()[0]}); take a smaller batch")
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int = _USER_ERROR) -> int:
    click.echo(f"narrows: {' '.join(message.split())}", err=True)
    return code


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error)
    return "out of memory" in text or "not enough memory" in text or "can't allocate" in text


def _check_output(output: TolerantStream) -> int:
    """Report a full disk behind the output. A closed pipe is what its reader wanted."""
    error = output.error
    if not isinstance(error, OSError) or error.errno in (errno.EPIPE, errno.EBADF):
        return 0
    reason = f"the output could not be written ({error.strerror}); files are complete"
    return _fail(reason)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="narrows")
def cli() -> None:
    """Train classifiers with an information bottleneck, measure them and attack them."""


for module in (
    run,
    train,
    config,
    sweep,
    runs,
    attack,
    audit,
    reevaluate,
    reproduce,
    knee,
    plane,
    figure,
    report,
    export,
    methods,
    mi,
    estimators,
):
    cli.add_command(module.command)


if __name__ == "__main__":
    main()
