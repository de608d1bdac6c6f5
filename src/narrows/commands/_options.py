"""How the commands read options that several of them have."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from narrows.errors import ConfigError
from narrows.registry import literal_names

__all__ = [
    "ANY_FILE",
    "config_options",
    "grid_options",
    "json_option",
    "listed",
    "names",
    "normalisation",
    "numbers",
    "print_json",
    "run_options",
    "run_values",
    "target_options",
]


class PathText(click.ParamType[Path]):
    """A path that need not exist."""

    name = "path"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Refuse what no path can be, and names that are not UTF-8, which no report can show."""
        if isinstance(value, Path):
            return value
        if not isinstance(value, str) or not value or re.search("[\0\ud800-\udfff]", value):
            self.fail(f"expected a path in UTF-8, got {value!r}", param, ctx)
        return Path(value)


ANY_FILE = PathText()
_STANDARD_OUTPUT = "narrows.standard_output"


def listed(module: str, variable: str, *others: str) -> str:
    """The names of a registry for a help text, read without importing it."""
    return ", ".join([*literal_names(module, variable), *others])


def numbers(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Comma-separated numbers."""
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(
            f"expected comma-separated numbers, like 0.01,0.1, got {value!r}"
        ) from error


def names(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Comma-separated words."""
    return None if value is None else [part.strip() for part in value.split(",")]


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument TARGET and what tells its model apart from others."""
    return _with(
        command,
        click.argument("target"),
        click.option(
            "--data",
            help="Data set, or data of your own, as for run.  [default: the run's own]",
        ),
        click.option("--method", help="Method of the run; not needed if there is only one."),
        click.option("--beta", type=float, help="Beta.  [default: chosen on validation data]"),
        click.option("--seed", type=int, help="Seed.  [default: the first of the run]"),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
        click.option(
            "--mean",
            callback=numbers,
            help="Of the images that file.py:function expects: comma-separated, one for each "
            "channel, in units of the [0, 1] range.  [default: 0]",
        ),
        click.option(
            "--std",
            callback=numbers,
            help="Their standard deviation, likewise.  [default: 1]",
        ),
    )


def normalisation(
    mean: list[float] | None, std: list[float] | None
) -> tuple[list[float], list[float]] | None:
    """What `--mean` and `--std` say together; `None` where neither is given."""
    return None if mean is None and std is None else (mean or [0.0], std or [1.0])


def config_options(*extra: Callable[..., Any]) -> Callable[..., Any]:
    """The argument CONFIG and the options that are settings of a run.

    Args:
        extra: the options that only some commands have; they come after the data set.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        return _with(
            command,
            click.argument("config", required=False, type=ANY_FILE),
            click.option(
                "--data",
                help=f"Data set: {listed('narrows.data', 'DATASETS')}; or data of your own: "
                "file.py:function, an .npz file, or a folder of class folders of images.  "
                "[default: digits, which is embedded]",
            ),
            *extra,
            click.option(
                "--network",
                help=f"Network: {listed('narrows.models.networks', 'NETWORKS', 'binary')}; or "
                "file.py:function of your own.  "
                "[default: that of the data set and the method]",
            ),
            click.option(
                "--adversarial",
                help="Adversarial training around the method: "
                f"{listed('narrows.methods.adversarial', 'WRAPPERS')}.  [default: none]",
            ),
            click.option(
                "--settings",
                help="Published training settings: "
                f"{listed('narrows.training.published', 'PUBLISHED')}.  "
                "[default: the data set's own]",
            ),
            click.option(
                "--epochs",
                type=int,
                help="Passes over the training set, at most.  [default: digits 100, mnist 60, ...]",
            ),
            click.option("--device", help="cpu, cuda or cuda:N.  [default: cpu]"),
            click.option(
                "--set",
                "overrides",
                multiple=True,
                metavar="KEY=VALUE",
                help="Any other setting, like train.batch_size=128; repeatable.",
            ),
        )

    return add


def run_options(*extra: Callable[..., Any]) -> Callable[..., Any]:
    """The argument CONFIG and the options that `narrows run` and `narrows train` share.

    Args:
        extra: the options that only one of the two has; they come after the data set.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        with_output = _with(
            command,
            click.option(
                "--out",
                type=ANY_FILE,
                default=Path("runs"),
                show_default=True,
                help="Folder in which the folder of the run is created.",
            ),
            click.option("--quiet", is_flag=True, help="Print only errors and the result."),
        )
        return config_options(*extra)(with_output)

    return add


def grid_options() -> tuple[Callable[..., Any], ...]:
    """The options that say which models a run has, and what they are attacked with."""
    return (
        click.option(
            "--methods",
            callback=names,
            help=f"Comma-separated methods: {listed('narrows.methods', 'METHODS')}.  "
            "[default: cross_entropy,vib,aib]",
        ),
        click.option(
            "--betas",
            callback=numbers,
            help="Comma-separated values of beta, the weight of the compression I(X;Z).  "
            "[default: six values for each method]",
        ),
        click.option("--seeds", type=int, help="Number of seeds per beta, from 0.  [default: 3]"),
        click.option(
            "--eps",
            callback=numbers,
            help="Linf radii of FGSM and PGD, in units of the [0, 1] image range.  "
            "[default: .02,.05,.1,.15,.2,.3]",
        ),
    )


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--json`: the command prints one document with `print_json` and nothing else.

    What code of the user's own prints goes to standard error, so that the document stays alone.
    Progress and tables are the command's: it leaves them out where `as_json` is true.
    """

    @functools.wraps(command)
    def with_json(*arguments: Any, as_json: bool, **options: Any) -> Any:
        if not as_json:
            return command(*arguments, as_json=False, **options)
        if options.get("markdown"):
            raise ConfigError("--markdown and --json exclude each other")
        click.get_current_context().meta[_STANDARD_OUTPUT] = sys.stdout
        with redirect_stdout(sys.stderr):
            return command(*arguments, as_json=True, **options)

    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
    )(with_json)


def print_json(content: Any, **paths: Path) -> None:
    """Print dataclasses or plain values as the one document of a command with `--json`.

    Args:
        content: NaN and infinity become null.
        paths: what the command has written, by name; they come before the fields of `content`,
            which is a dataclass or a mapping then.
    """
    import msgspec

    plain = msgspec.to_builtins(content, enc_hook=str)  # which writes paths as text
    if paths:
        plain = {name: str(path) for name, path in paths.items()} | plain
    finite = json.loads(json.dumps(plain), parse_constant=lambda constant: None)
    stream = click.get_current_context().meta[_STANDARD_OUTPUT]
    click.echo(json.dumps(finite, indent=1), file=stream)


def run_values(given: Mapping[str, object], overrides: Sequence[str]) -> dict[str, object]:
    """Options by name, as the keys of a configuration; those that were left out are not there.

    Args:
        given: value by name of the option.
        overrides: of `--set`.

    Raises:
        ConfigError: for a setting that is given by its option and by `--set`.
    """
    from narrows.runs.overrides import nested_overrides, refuse_repeated

    values: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    for option, section, key in (
        ("network", "network", "name"),
        ("epochs", "train", "epochs"),
        ("eps", "evaluate", "eps"),
    ):
        if option in values:
            values[section] = {key: values.pop(option)}
    refuse_repeated(values, nested_overrides(overrides))
    return values


def _with(command: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options in this order."""
    for option in reversed(options):
        command = option(command)
    return command
