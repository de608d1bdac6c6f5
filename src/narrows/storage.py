"""Tensors and a JSON header in one file: all that a training run or an attack needs to go on.

The format is safetensors with a JSON header entry, so loading it never executes code, and a SHA-256
of all that it says: a damaged file is refused, not trained on. Every write goes to a temporary file
that is renamed when it is complete: a reader finds the old state or the new one, never half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from narrows.errors import CheckpointError, StoreError

__all__ = ["load_tensors", "save_tensors", "write_atomically"]

_KEY, _DIGEST = "narrows", "sha256"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is either complete or not there.

    Raises:
        StoreError: for a full disk, a read-only folder, a missing one.
    """
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


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header to one safetensors file, atomically.

    Raises:
        StoreError: if it cannot be written.
    """
    # Cloned: safetensors refuses tensors that share memory, and names of one tensor do.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(header)
    metadata = {_KEY: text, _DIGEST: _digest(plain, text)}
    write_atomically(path, serialise(plain, metadata=metadata))


def load_tensors(
    path: Path, device: str | torch.device = "cpu", kind: str = "checkpoint"
) -> tuple[dict[str, Tensor], Any]:
    """Read what `save_tensors` wrote: tensors and header.

    Args:
        path: of the file.
        device: of the tensors.
        kind: what the file is to a reader of an error.

    Raises:
        CheckpointError: for a file that is missing, truncated, of another format (a pickled `.pt`
            file, say, which is never opened), not written by this library, or changed since.
    """
    try:
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
    return placed, json.loads(metadata[_KEY])


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
