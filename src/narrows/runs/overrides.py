"""`KEY=VALUE` options of the command line, and what OmegaConf says of a wrong one, in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from narrows.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf.errors import OmegaConfBaseException

__all__ = ["explain", "parse_overrides", "plain_overrides"]


def parse_overrides(overrides: Sequence[str]) -> Any:
    """Read `a.b=v` options as a nested configuration; values are YAML.

    Raises:
        ConfigError: for text without a key or a `=`, or a value that is not YAML.
    """
    from omegaconf import OmegaConf
    from yaml import YAMLError

    for text in overrides:
        key, equals, _ = text.partition("=")
        if not key or not equals:
            raise ConfigError(f"expected KEY=VALUE, like train.epochs=3, got {text!r}")
        try:
            OmegaConf.from_dotlist([text])
        except (YAMLError, ValueError, IndexError, RecursionError, OverflowError) as error:
            # The last four are what the parser does not wrap: endless nesting or numbers, say.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(f"cannot read the value in {text!r}: {reason}") from error
    return OmegaConf.from_dotlist(list(overrides))


def plain_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Read `a.b=v` options as nested dicts and lists, with nothing left to resolve.

    Raises:
        ConfigError: as `parse_overrides`, and for a value that is missing or refers to nothing.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        plain: Any = OmegaConf.to_container(
            parse_overrides(overrides), resolve=True, throw_on_missing=True
        )
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    return plain


def explain(error: OmegaConfBaseException) -> str:
    """The key and what is wrong with it, without the internal types that follow."""
    text = str(error).splitlines()[0]
    return f"{error.full_key}: {text}" if error.full_key else text
