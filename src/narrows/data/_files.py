"""Reading of data files; whatever is wrong with a file, the error is one sentence."""

from __future__ import annotations

import os
from pathlib import Path

from narrows.checks import check_path
from narrows.errors import ConfigError, DataError

__all__ = ["LARGEST", "as_folder", "is_file", "read_file"]

LARGEST = 2**30
"""Bytes; four times the largest file of any data set here."""


def as_folder(folder: str | os.PathLike[str], name: str) -> Path:
    """The folder that a user has named, with `~` expanded.

    Raises:
        DataError: for something that is no path, or the home of an unknown user.
    """
    try:
        return check_path(folder, name).expanduser()
    except (ConfigError, RuntimeError) as error:
        raise DataError(f"{name} is not a folder: {error}") from error


def is_file(path: Path) -> bool:
    """Whether the path is a file.

    Raises:
        DataError: for a folder without permission, or a name that is too long.
    """
    try:
        return path.is_file()
    except (OSError, ValueError) as error:
        raise DataError(f"{_short(path)}: cannot be searched ({_reason(error)})") from error


def read_file(path: Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: for a file that cannot be read, or is larger than `LARGEST`.
    """
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise DataError(
                f"{path}: holds {size:,} bytes, and no file of a data set holds more than "
                f"{LARGEST:,}; it is damaged or another file, fetch it again"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{_short(path)}: cannot be read ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text):,} characters)"
