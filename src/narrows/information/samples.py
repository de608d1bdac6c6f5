"""Read samples from .npy, .npz and .csv files."""

from __future__ import annotations

import csv
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from narrows.checks import check_path
from narrows.errors import InputError
from narrows.storage import check_regular

__all__ = ["read_samples"]

_BROKEN = (OSError, EOFError, zipfile.BadZipFile)


def read_samples(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """Read an array with one row for each sample; axes after the second are flattened.

    A .csv file has comma-separated numbers and may begin with a line of titles; if all its numbers
    are whole, they are read as integers. `FILE.npz:NAME` is one array of an .npz file that holds
    several. Pickled objects are never loaded.

    Raises:
        InputError: for a file that is missing, damaged or of another kind, or no numbers in it.
    """
    text, _, member = str(check_path(path)).partition(".npz:")
    file = Path(f"{text}.npz") if member else Path(text)
    if file.suffix not in (".npy", ".npz", ".csv"):
        raise InputError(f"cannot read {path}: expected a .npy, .npz or .csv file")
    try:
        check_regular(file)
        array = _read_table(file) if file.suffix == ".csv" else _read_array(file, member)
    except _BROKEN as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {path}: {reason}") from error
    except ValueError as error:
        raise InputError(f"{path} is no table of numbers: {error}") from error
    if array.dtype.kind not in "biuf" or not array.ndim or not array.size:
        raise InputError(f"{path} is no table of numbers: {array.dtype} {list(array.shape)}")
    return array.reshape(len(array), -1) if array.ndim > 2 else array


def _read_array(file: Path, member: str) -> np.ndarray[Any, Any]:
    with file.open("rb") as stream:
        loaded = np.load(stream, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        if not member and len(loaded.files) == 1:
            member = loaded.files[0]
        if member not in loaded.files:
            listed = ", ".join(loaded.files)
            raise ValueError(f"it holds the arrays {listed}; write {file}:NAME")
        return loaded[member]


def _read_table(file: Path) -> np.ndarray[Any, Any]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = [row for row in csv.reader(lines) if row]
    if rows and not any(map(_is_number, rows[0])):
        del rows[0]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {number} has {len(row)} cells, the first has {len(rows[0])}")
    whole = all(cell.strip().lstrip("+-").isdecimal() for row in rows for cell in row)
    return np.array([[int(cell) if whole else float(cell) for cell in row] for row in rows])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
