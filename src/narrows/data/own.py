"""Data of the user's own, named by where they are: a file, a folder, or a function.

| name                | what it is                                                             |
|---------------------|------------------------------------------------------------------------|
| `data.py:function`  | a function that returns data; see `narrows.data.objects` for its result |
| `data.npz`          | arrays like `x`, `y` or `x_train`, `y_train`, `x_test`, `y_test`        |
| `folder`            | a folder of class folders of PNG or JPEG images                         |

A path that is not there is searched below the folder in `NARROWS_DATA` too, by its last part.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from narrows.data._base import Splits
from narrows.data.arrays import to_splits
from narrows.data.image_folder import read_image_folder
from narrows.data.objects import as_splits
from narrows.errors import DataError, NarrowsError
from narrows.registry import literal_names
from narrows.storage import check_regular
from narrows.user_code import UserFunction, is_user_function

__all__ = ["absolute_name", "is_own", "load_own", "short_name", "stamp_of"]

_VARIABLE = "NARROWS_DATA"
_LONGEST = 60


def is_own(name: str) -> bool:
    """Whether a name of data is a path or a function of the user's own, and no registered name.

    >>> is_own("usps.npz"), is_own("data.py:usps"), is_own("./photos"), is_own("digits")
    (True, True, True, False)
    """
    if is_user_function(name) or name.endswith((".npz", ".py")) or os.sep in name:
        return True
    registered = literal_names("narrows.data", "DATASETS")
    return name not in registered and "\0" not in name and Path(name).is_dir()


def absolute_name(name: str) -> str:
    """The same data named from anywhere: a path becomes absolute, another name stays as it is.

    Args:
        name: of data, as `load` takes it.
    """
    if not is_own(name):
        return name
    path, mark, function = _divided(name)
    return f"{path.expanduser().absolute()}{mark}{function}"


def short_name(name: str) -> str:
    """What the data are called in reports and folders: without the folder that they are in.

    Args:
        name: of data, as `load` takes it.

    >>> short_name("/home/ada/usps data.npz"), short_name("a/data.py:usps"), short_name("digits")
    ('usps-data', 'data-usps', 'digits')
    """
    if not is_own(name):
        return name
    path, mark, function = _divided(name)
    stem = path.stem if path.suffix in (".py", ".npz") else path.absolute().name
    text = re.sub(r"[^\w.]+", "-", f"{stem}-{function}" if mark else stem).strip("-.")
    return text[:_LONGEST] or "data"


def stamp_of(name: str) -> tuple[int, int] | None:
    """Size and time of change of the file or folder that data are in; another when it changes.

    Args:
        name: of data of the user's own.
    """
    try:
        status = _divided(name)[0].expanduser().stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def load_own(name: str) -> Splits:
    """Load data of the user's own.

    Args:
        name: a path to an .npz file or a folder, or `file.py:function`.

    Raises:
        DataError: if they are missing, damaged or cannot be trained on.
        ConfigError: if a function fails.
    """
    path, mark, function = _divided(name)
    path = _found(path.expanduser())
    if mark:
        source = UserFunction(path, function)()
        try:
            return as_splits(source, short_name(name))
        except DataError:
            raise
        except Exception as error:  # whatever a data set of the user's raises when it is read
            if isinstance(error, NarrowsError):
                raise
            reason = " ".join(str(error).split())
            raise DataError(
                f"{name}: the data cannot be read ({type(error).__name__}: {reason})"
            ) from error
    if path.suffix == ".py":
        raise DataError(f"{name}: name a function of the file, like {name}:load")
    if path.is_dir():
        return to_splits(short_name(name), read_image_folder(path))
    return as_splits(_read_npz(path), short_name(name))


def _divided(name: str) -> tuple[Path, str, str]:
    """Path, the colon before a function, and the function."""
    if not is_user_function(name):
        return Path(name), "", ""
    path, mark, function = name.rpartition(":")
    return Path(path), mark, function


def _found(path: Path) -> Path:
    places = [path]
    if root := os.environ.get(_VARIABLE):
        places.append(Path(root).expanduser() / path.absolute().name)
    try:
        for place in places:
            if place.exists():
                return place
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)[:300]}: cannot be searched ({error})") from error
    also = f", nor below the folder in {_VARIABLE}" if len(places) > 1 else ""
    raise DataError(
        f"there is no {path}{also}; put the data back, or into the folder that {_VARIABLE} names"
    )


def _read_npz(path: Path) -> dict[str, Any]:
    """The arrays of a file, by name; nothing is unpickled."""
    try:
        check_regular(path)
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: holds a single array; expected an .npz of x and y")
            return {name: _read_array(path, file, name) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: is no .npz file that can be read ({reason})") from error


def _read_array(path: Path, file: Any, name: str) -> np.ndarray[Any, Any]:
    try:
        return file[name]
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise DataError(
            f"{path}: the array {name!r} holds Python objects, which would have to be unpickled; "
            "save numbers or text, like y.astype(str)"
        ) from error
