"""JSON files of a run's folder: checked when they are read, complete when they are written.

    {"format": 2, "kind": "record of a model", "sha256": "...", "content": {...}}

`content` is one of the dataclasses of `narrows.runs.records`. The checksum covers its values and
not its layout, so a file that a tool has indented differently is still valid. Reading compares the
content with the type that is expected: an error names the file and the field. Keys that a newer
version has added are ignored, and keys that an older version did not have take their defaults.

One process at a time writes to a folder. It holds a lock that the operating system drops when the
process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from filelock import FileLock, Timeout

from narrows.errors import FolderInUseError, StoreError
from narrows.storage import json_bytes, write_atomically

__all__ = [
    "FORMAT",
    "locked_folder",
    "make_folder",
    "read_json",
    "read_lines",
    "write_json",
    "write_lines",
]

FORMAT = 2
_LARGEST_FILE = 2**30  # bytes; a JSON file of a run is a thousand times smaller
_CHECK = "crc32"
T = TypeVar("T")


class _Envelope(msgspec.Struct):
    format: int
    kind: str
    sha256: str
    content: Any


def write_json(path: Path, kind: str, content: Any) -> None:
    """Write `content`, a dataclass or plain JSON values, atomically.

    Args:
        path: of the file.
        kind: what the file is, for its reader and for errors.
        content: without NaN and infinity, which JSON does not have.

    Raises:
        StoreError: if it cannot be written.
    """
    plain = msgspec.to_builtins(content)
    envelope = {"format": FORMAT, "kind": kind, "sha256": _digest(plain), "content": plain}
    write_atomically(path, (json.dumps(envelope, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path, kind: str, content: type[T]) -> T:
    """Read what `write_json` has written.

    Args:
        path: of the file.
        kind: what it was written as.
        content: type of the content.

    Raises:
        StoreError: if the file is missing, unreadable, damaged or of another kind, or if a field
            has another type; the message names the file and the field.
    """
    envelope = _parse(path, kind, _read(path, kind), _Envelope)
    if envelope.format > FORMAT:
        raise StoreError(
            f"{path} was written by a newer version of narrows (layout {envelope.format}, this "
            f"version knows {FORMAT}); install that version to read it"
        )
    if envelope.kind != kind:
        raise StoreError(f"{path} is a {envelope.kind}, expected a {kind}")
    if envelope.sha256 != _checked(path, _digest, envelope.content):
        raise StoreError(
            f"{path} is damaged: its contents have changed since they were written; delete it to "
            "make it again, or restore a copy"
        )
    return _convert(path, kind, envelope.content, content)


def write_lines(path: Path, records: Sequence[Any]) -> None:
    """Write one line of JSON for each record, each with its own checksum, atomically.

    Raises:
        StoreError: if it cannot be written.
    """
    lines = []
    for record in records:
        plain = msgspec.to_builtins(record)
        lines.append(json.dumps({**plain, _CHECK: _crc(plain)}, allow_nan=False) + "\n")
    write_atomically(path, "".join(lines).encode())


def read_lines(path: Path, kind: str, content: type[T]) -> list[T]:
    """Read what `write_lines` has written.

    Args:
        path: of the file.
        kind: what it holds, for errors.
        content: type of a line.

    Raises:
        StoreError: as `read_json`, naming the line.
    """
    records = []
    for number, line in enumerate(_read(path, kind).splitlines(), start=1):
        place = Path(f"{path}, line {number},")
        plain = _parse(place, kind, line, dict[str, Any])
        if plain.pop(_CHECK, None) != _checked(place, _crc, plain):
            raise StoreError(f"{place} is damaged: it has changed since it was written")
        records.append(_convert(place, kind, plain, content))
    return records


def _read(path: Path, kind: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise StoreError(f"{path} is not a regular file, expected a {kind}")
        if path.stat().st_size > _LARGEST_FILE:
            raise StoreError(f"{path} is larger than 1 GiB, expected a {kind}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"there is no {path}; is {path.parent} the folder that narrows has written?"
        ) from error
    except StoreError:  # an OSError, too
        raise
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _parse(path: Path, kind: str, content: bytes, shape: type[T]) -> T:
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise StoreError(f"{path} is not JSON, expected a {kind} ({error})") from error
    if shape is _Envelope and not (isinstance(plain, dict) and "sha256" in plain):
        raise StoreError(
            f"{path} is not a {kind} of this version of narrows: it has no checksum. A run that "
            "was written before layout 2 is converted by scripts/convert_runs.py of the repository"
        )
    return _convert(path, kind, plain, shape)


def _convert(path: Path, kind: str, plain: Any, content: type[T]) -> T:
    try:
        return msgspec.convert(plain, content)
    except (msgspec.ValidationError, RecursionError, OverflowError, UnicodeError) as error:
        raise StoreError(f"{path} is not a valid {kind}: {error}") from error


def _checked(path: Path, checksum: Callable[[Any], str], plain: Any) -> str:
    """The checksum of what a file holds; Python reads NaN and infinity where JSON has none."""
    try:
        return checksum(plain)
    except ValueError as error:
        raise StoreError(f"{path} holds NaN or infinity, which JSON does not have") from error
    except RecursionError as error:
        raise StoreError(f"{path} is nested too deeply") from error


def _digest(plain: Any) -> str:
    return hashlib.sha256(json_bytes(plain)).hexdigest()


def _crc(plain: Any) -> str:
    return f"{zlib.crc32(json_bytes(plain)):08x}"


def make_folder(path: Path) -> Path:
    """Create a folder where there is none, and return its path.

    Raises:
        StoreError: if it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot create {path}: {error.strerror}; choose a folder you can write with --out"
        ) from error
    return path


@contextmanager
def locked_folder(path: Path) -> Iterator[Path]:
    """Create a folder and be the only process that writes to it while the block runs.

    Temporary files of a process that was killed while it wrote are deleted.

    Raises:
        FolderInUseError: if another process has it.
        StoreError: if it cannot be created or locked.
    """
    lock = FileLock(make_folder(path) / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FolderInUseError(
            f"{path} is in use by another process; wait for it, or choose another --out"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise StoreError(
            f"cannot lock {path}: {error}; choose a folder on a file system that can with --out"
        ) from error
    try:
        for unfinished in path.rglob(".*.tmp"):
            with suppress(OSError):
                unfinished.unlink()
        yield path
    finally:
        lock.release()
