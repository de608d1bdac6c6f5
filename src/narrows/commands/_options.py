"""How the commands read options that several of them have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["ANY_FILE", "names", "numbers", "run_options", "run_values", "target_options"]

ANY_FILE = click.Path(path_type=Path)


def numbers(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Numbers with commas between them."""
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(
            f"expected numbers with commas between them, like 0.01,0.1, got {value!r}"
        ) from error


def names(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Words with commas between them."""
    return None if value is None else [part.strip() for part in value.split(",")]


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument TARGET and what tells its model apart from others."""
    return _with(
        command,
        click.argument("target"),
        click.option("--data", help="Data set.  [default: the run's own]"),
        click.option("--method", help="Which method of the run; its only one needs no name."),
        click.option("--beta", type=float, help="Which beta.  [default: validation's choice]"),
        click.option("--seed", type=int, help="Which seed of the run.  [default: its first]"),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
    )


def run_options(*own: Callable[..., Any]) -> Callable[..., Any]:
    """The argument CONFIG and all that `narrows run` and `narrows train` have both.

    Args:
        own: the options that one of the two has alone; they come after the data set.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        return _with(
            command,
            click.argument("config", required=False, type=ANY_FILE),
            click.option(
                "--data",
                help="Data set: digits (embedded), mnist, fashion-mnist, cifar10, cifar100, svhn, "
                "tiny-imagenet, twelve-bit, toy1, toy2.  [default: digits]",
            ),
            *own,
            click.option(
                "--network",
                help="Network: mlp, cnn, lenet, carlini, vgg16, resnet18, preact_resnet18, "
                "wide_resnet, binary.  [default: the data set's own]",
            ),
            click.option(
                "--adversarial",
                help="Adversarial training around the method: pgd_training, trades or mart.  "
                "[default: none]",
            ),
            click.option(
                "--recipe",
                help="Published training recipe: vib, vib-cifar10, ceb-cifar10, aib, hbar-mnist, "
                "hbar-cifar10, ib-rar, ib-rar-adversarial, imb, imb-cifar10, imb-as-coded.  "
                "[default: the data set's own]",
            ),
            click.option(
                "--epochs",
                type=int,
                help="Passes over the training set, at most.  [default: digits 100, mnist 60, ...]",
            ),
            click.option("--device", help="cpu, cuda or cuda:N.  [default: cpu]"),
            click.option(
                "--out",
                type=ANY_FILE,
                default=Path("runs"),
                show_default=True,
                help="Folder that the run's own folder is made in.",
            ),
            click.option(
                "--set",
                "overrides",
                multiple=True,
                metavar="KEY=VALUE",
                help="Any other key, like train.batch_size=128 or options.aib.steps=2; repeatable.",
            ),
            click.option("--quiet", is_flag=True, help="Show errors and the last line or two."),
        )

    return add


def run_values(given: dict[str, Any]) -> dict[str, Any]:
    """Options by name, as the keys of a configuration; those that were left out are not there."""
    values = {name: value for name, value in given.items() if value is not None}
    for option, section, key in (
        ("network", "network", "name"),
        ("epochs", "train", "epochs"),
        ("eps", "evaluate", "eps"),
    ):
        if option in values:
            values[section] = {key: values.pop(option)}
    return values


def _with(command: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options in this order."""
    for option in reversed(options):
        command = option(command)
    return command
