"""Whether a nested configuration has lists and tables where they belong, said by key.

OmegaConf checks keys and numbers and names them. Where a list stands in place of a table, or the
other way round, it only says that it cannot merge them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from narrows.errors import ConfigError

__all__ = ["check_shapes"]

_MISSING = "???"  # OmegaConf's mark of a value that must still be given


def check_shapes(value: Any, hint: Any, key: str = "") -> None:
    """Refuse a list, a table or a single value where the type expects another of the three.

    Args:
        value: of plain dicts, lists and scalars.
        hint: a dataclass, or the type of one of its fields.
        key: of the value in messages, with dots.

    Raises:
        ConfigError: naming the key.
    """
    if value == _MISSING:
        raise ConfigError(f"{key} has no value, got {_MISSING!r}")
    kind, inner = _without_none(hint)
    if value is None or kind is Any:
        return
    if is_dataclass(kind):
        _expect(isinstance(value, Mapping), key, "a table of settings", value)
        hints = get_type_hints(kind)
        for name, part in value.items():
            # An unknown name is OmegaConf's to refuse, which knows the nearest ones.
            check_shapes(part, hints.get(name, Any), _join(key, name))
    elif kind is dict:
        _expect(isinstance(value, Mapping), key, "a table", value)
        for name, part in value.items():
            check_shapes(part, inner[1], _join(key, name))
    elif kind in (list, tuple):
        _expect(isinstance(value, list), key, "a list, like [a, b]", value)
        for index, part in enumerate(value):
            check_shapes(part, inner[0], f"{key}[{index}]")
    else:
        _expect(not isinstance(value, Mapping | list), key, "a single value", value)


def _without_none(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type without `None`, and what it is a list or a table of."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    return get_origin(hint) or hint, get_args(hint)


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _expect(fits: bool, key: str, wanted: str, value: object) -> None:
    if not fits:
        shown = str(value) if len(str(value)) < 80 else type(value).__name__
        raise ConfigError(f"{key or 'the configuration'}: expected {wanted}, got {shown}")
