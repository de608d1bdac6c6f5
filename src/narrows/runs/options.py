"""Options of methods and wrappers, checked by name and type against what constructors declare.

A configuration file is data: a misspelt option must be named before anything is trained, and a
value of the wrong type must not surface as a traceback an hour later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from narrows.errors import ConfigError, unknown_name
from narrows.methods import METHODS, Method, Sizes
from narrows.methods.adversarial import WRAPPERS, Adversarial, Variant

__all__ = ["check_options", "check_values", "declared_options"]

_SPELT = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def declared_options(kind: type[Method]) -> dict[str, object]:
    """Names and types of the constructor's arguments, without those that the run itself gives."""
    given = {"return", "beta", "method", *Sizes._fields}
    if kind.latent != "binary":  # a network has such widths only where its layers are bottlenecks
        given.discard("hidden")
    hints = get_type_hints(kind.__init__)
    if issubclass(kind, Adversarial) and kind.variants:
        hints["variant"] = Variant
    return {name: hint for name, hint in hints.items() if name not in given}


def check_options(method: str, options: Mapping[str, object]) -> None:
    """Refuse options that the method, or the wrapper, does not have, or of another type.

    Raises:
        ConfigError: naming the nearest option, or the type that was expected.
    """
    declared = declared_options({**METHODS, **WRAPPERS}[method])
    check_values(method, declared, options, f"options.{method}.")


def check_values(
    owner: str, declared: Mapping[str, object], options: Mapping[str, object], prefix: str = ""
) -> None:
    """Refuse options that are not declared, or of another type.

    Args:
        owner: whose they are.
        declared: type by name.
        options: value by name.
        prefix: of a name in messages.

    Raises:
        ConfigError: naming the nearest option, or the type that was expected.
    """
    for name, value in options.items():
        if not declared:
            raise ConfigError(f"{owner} has no options, got {prefix}{name}")
        if name not in declared:
            raise unknown_name(f"option of {owner}", name, declared)
        if not _fits(value, declared[name]):
            raise ConfigError(f"{prefix}{name} must be {_spell(declared[name])}, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in inner)
    if kind is Literal:
        return value in inner
    if kind in (list, tuple, Sequence):
        return isinstance(value, (list, tuple)) and all(_fits(part, inner[0]) for part in value)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind) if isinstance(kind, type) else True


def _spell(hint: Any) -> str:
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(_spell(part) for part in inner if part is not NoneType)
    if kind is Literal:
        return " or ".join(repr(part) for part in inner)
    if kind in (list, tuple, Sequence):
        return f"a list, each {_spell(inner[0])}"
    return _SPELT.get(kind, getattr(kind, "__name__", str(kind)))
