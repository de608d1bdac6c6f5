"""One family of exceptions: each says what was expected, what arrived and what to do.

The command line turns any of them into one line and exit code 2; everything else is a bug and
keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "EngineError",
    "FolderInUseError",
    "InputError",
    "NarrowsError",
    "StoreError",
    "unknown_name",
]


class NarrowsError(Exception):
    """Base of every error that a user can cause and mend."""


class InputError(NarrowsError, ValueError):
    """A tensor, label or number given to a function is not what it takes."""


class ConfigError(NarrowsError, ValueError):
    """A configuration names something unknown or has a value of the wrong type or range."""


class DataError(NarrowsError, ValueError):
    """A data set is missing, damaged or holds values that cannot be trained on."""


class CheckpointError(NarrowsError, ValueError):
    """A checkpoint is truncated, foreign, or does not fit the model it is loaded into."""


class StoreError(NarrowsError, OSError):
    """A run folder cannot be read or written, or another process is using it."""


class FolderInUseError(StoreError):
    """Another process writes to the folder."""


class EngineError(NarrowsError, OSError):
    """The processes that carry a sweep out have stopped, or run another version."""


class DivergedError(NarrowsError, ArithmeticError):
    """A loss or gradient became NaN or infinite during training."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> ConfigError:
    """Build the error for a misspelt name: the nearest valid names come first.

    Args:
        kind: what is named, such as `"method"`.
        name: as the user wrote it.
        valid: the names that exist.

    >>> str(unknown_name("method", "vibb", ["aib", "vib"]))
    "unknown method 'vibb'; did you mean 'vib'? Valid: vib, aib"
    """
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    ordered = near + [other for other in names if other not in near]
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return ConfigError(f"unknown {kind} {name!r}{hint} Valid: {', '.join(ordered)}")
