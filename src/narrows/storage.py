"""Tensors and a JSON header in one file, the checkpoint of a training run or of an attack.

The format is safetensors with a JSON header, so that loading a file never executes code, and with a
SHA-256 of the content, so that a damaged file is refused. Every write goes to a temporary file that
is renamed when it is complete: a reader finds the old state or the new one, never a part of one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from narrows.checks import check_path
from narrows.errors import CheckpointError, StoreError

__all__ = [
    "check_regular",
    "convert_header",
    "json_bytes",
    "json_finite",
    "load_tensors",
    "save_tensors",
    "write_atomically",
]

T = TypeVar("T")

_KEY, _DIGEST = "narrows", "sha256"


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that it is either complete or absent.

    Raises:
        StoreError: for a full disk, a read-only folder, a missing one.
    """
    path = check_path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}; what was there before is unchanged. "
            "Free space or choose another folder with --out, then run the same command again"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def json_finite(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinity become None, in mappings and lists too.

    Example:
        >>> json_finite({"nats": 0.5, "ceiling": math.inf})
        {'nats': 0.5, 'ceiling': None}
    """
    if isinstance(value, Mapping):
        return {str(name): json_finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_bytes(plain: Any) -> bytes:
    """Plain JSON values as one text that does not depend on the layout of a file, for checksums.

    Raises:
        ValueError: for NaN and infinity, which JSON does not have.

    Example:
        >>> json_bytes({"b": 1, "a": [2]})
        b'{"a":[2],"b":1}'
    """
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], header: Mapping[str, object]
) -> None:
    """Write tensors and a JSON header to one safetensors file, atomically.

    Args:
        path: of the file.
        tensors: by name.
        header: what JSON can hold.

    Raises:
        StoreError: if it cannot be written.
    """
    # Cloned: safetensors refuses tensors that share memory, and names of one tensor do.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(header)
    metadata = {_KEY: text, _DIGEST: _digest(plain, text)}
    write_atomically(path, serialise(plain, metadata=metadata))


def check_regular(path: Path) -> None:
    """Refuse a pipe or a device: reading would wait for a writer, or never end.

    A path where nothing is, and a folder, are left to whoever reads it.

    Raises:
        OSError: as for other things that cannot be read.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))


def load_tensors(
    path: str | os.PathLike[str], device: str | torch.device = "cpu", kind: str = "checkpoint"
) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Read what `save_tensors` wrote: tensors and header.

    `convert_header` checks the fields of the header.

    Args:
        path: of the file.
        device: of the tensors.
        kind: of the file, for errors.

    Raises:
        CheckpointError: for a file that is missing, truncated, of another format (a pickled `.pt`
            file, say, which is never opened), not written by this library, or changed since.
    """
    path = check_path(path)
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no {kind} {path}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a complete safetensors file ({error}); "
            "delete it to start over, or restore a copy"
        ) from error
    if _KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but this library did not write it")
    if metadata.get(_DIGEST) != _digest(tensors, metadata[_KEY]):
        raise CheckpointError(
            f"{path} is damaged: its contents have changed since they were written; "
            "delete it to start over, or restore a copy"
        )
    placed = {name: tensor.to(device) for name, tensor in tensors.items()}
    return placed, _header(path, metadata[_KEY], kind)


def _header(path: Path, text: str, kind: str) -> dict[str, object]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError
        raise CheckpointError(f"{path} has a header that is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise CheckpointError(
            f"{path} is not a {kind}: its header is {type(header).__name__}, expected fields by "
            "name"
        )
    return header


def convert_header(
    path: str | os.PathLike[str], header: Mapping[str, object], fields: type[T]
) -> T:
    """The header of a file as a dataclass.

    Args:
        path: of the file, for errors.
        header: what `load_tensors` has read.
        fields: a dataclass, whose annotations are the required types.

    Raises:
        CheckpointError: naming the file and the first field that is missing or of another type.
    """
    try:
        return msgspec.convert(header, fields)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has a header with another content: {error}") from error


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
