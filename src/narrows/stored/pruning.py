"""Delete the folders of runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from narrows.errors import StoreError

__all__ = ["delete_runs", "size_of"]


def size_of(folders: Iterable[Path]) -> int:
    """Bytes of all files in the folders."""
    return sum(
        path.stat().st_size
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def delete_runs(folders: Iterable[Path]) -> list[Path]:
    """Delete folders of runs, and return those that stay because a process writes to them.

    Args:
        folders: of runs.

    Raises:
        StoreError: for one that cannot be deleted.
    """
    busy = []
    for folder in folders:
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            busy.append(folder)
            continue
        except OSError as error:
            raise StoreError(f"cannot lock {folder}: {error.strerror}") from error
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise StoreError(f"cannot delete {folder}: {error.strerror}") from error
        finally:
            lock.release()
    return busy
