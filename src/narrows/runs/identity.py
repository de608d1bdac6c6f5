"""The hash of settings, which names the folder of what they produce.

A setting that is at its default is left out, so that a folder keeps its name when the library gains
a new one. Equal numbers count as equal, however they are written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

__all__ = ["identity_of"]

_DIGITS = 10


def identity_of(settings: Any) -> str:
    """Hash of every setting, nested dataclasses and mappings included: 10 hexadecimal digits."""
    text = json.dumps(_plain(settings), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _plain(value: Any) -> Any:
    """Plain JSON with one spelling for what means the same: 1 and 1.0, a tuple and a list."""
    if is_dataclass(value):
        parts = {
            field.name: (getattr(value, field.name), _default(field)) for field in fields(value)
        }
        return {name: _plain(part) for name, (part, default) in parts.items() if part != default}
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
