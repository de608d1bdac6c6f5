"""A configuration as TOML, which `load_config` reads back to the same configuration."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from narrows.runs.config import ResolvedConfig

__all__ = ["config_toml"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def config_toml(config: ResolvedConfig) -> str:
    """Every setting of a run, its defaults included, as TOML.

    A setting that is `None` or empty is left out, since TOML has no word for nothing.

    Args:
        config: of a run.

    Example:
        >>> from narrows.runs import load_config
        >>> config_toml(load_config()).splitlines()[0]
        'data = "digits"'
    """
    return "\n".join(_table(msgspec.to_builtins(config), ())) + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """The lines of a table: its own values first, then the tables in it."""
    kept = {key: value for key, value in values.items() if value not in (None, "", {})}
    tables = {key: value for key, value in kept.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in kept.items() if key not in tables}
    if path and (plain or not tables):
        yield ""
        yield f"[{'.'.join(map(_key, path))}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, table in tables.items():
        yield from _table(table, (*path, key))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{'-' * (value < 0)}inf"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items())}}}"
    # JSON's numbers, booleans and quoted text are TOML's, except for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
