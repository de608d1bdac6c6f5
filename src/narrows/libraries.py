"""Libraries that only some functions need: imported where they are used, or named in an error."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from narrows.errors import ConfigError

__all__ = ["load_library"]


def load_library(module: str, user: str, install: str) -> ModuleType:
    """Import a module of an optional library.

    Args:
        module: its dotted name.
        user: what needs the library, the first word of the error.
        install: what `pip install` takes, such as `narrows[mlflow]`.

    Raises:
        ConfigError: where the library, or a library that it needs, is not installed.

    Example:
        >>> load_library("json.no_such_module", "This example", "narrows[example]")
        ... # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        narrows.errors.ConfigError: This example needs json.no_such_module, which is not ...
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        argument = f"'{install}'" if "[" in install else install
        raise ConfigError(
            f"{user} needs {error.name}, which is not installed; pip install {argument}"
        ) from error
