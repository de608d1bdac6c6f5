"""`KEY=VALUE` options of the command line, and what OmegaConf says of a wrong one, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from narrows.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf.errors import OmegaConfBaseException

__all__ = ["explain", "nested_overrides", "parse_overrides", "plain_overrides", "refuse_repeated"]


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


def nested_overrides(overrides: Sequence[str]) -> dict[str, object]:
    """Read `a.b=v` options as nested dicts and lists, references and missing values as they are.

    Raises:
        ConfigError: as `parse_overrides`.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        nested: Any = OmegaConf.to_container(parse_overrides(overrides))
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    return nested


def refuse_repeated(
    values: Mapping[str, object], overrides: Mapping[str, object], prefix: str = ""
) -> None:
    """Refuse a setting that has an option of its own and is given by `--set` too.

    Args:
        values: nested, from options such as `--epochs`.
        overrides: nested, from `--set`.
        prefix: of the keys in messages.

    Raises:
        ConfigError: naming the first such setting.

    Example:
        >>> refuse_repeated({"train": {"epochs": 3}}, {"train": {"epochs": 5}})
        Traceback (most recent call last):
            ...
        narrows.errors.ConfigError: train.epochs is given twice, by an option of its own and by \
--set train.epochs=5; leave one of them out
    """
    for name, value in values.items():
        if name not in overrides:
            continue
        other, key = overrides[name], f"{prefix}{name}"
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            refuse_repeated(value, other, f"{key}.")
        else:
            raise ConfigError(
                f"{key} is given twice, by an option of its own and by --set {key}={other}; leave "
                "one of them out"
            )


def explain(error: OmegaConfBaseException) -> str:
    """The key and what is wrong with it, without the internal types that follow."""
    text = str(error).splitlines()[0]
    return f"{error.full_key}: {text}" if error.full_key else text
