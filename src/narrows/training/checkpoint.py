"""One file holds all that a training run needs to go on: tensors, numbers, random states.

The format is safetensors with a JSON header entry, so loading it never executes code. Every write
goes to a temporary file that is renamed when it is complete: a reader finds the old state or the
new one, never half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from narrows.errors import CheckpointError, StoreError

__all__ = ["load_tensors", "save_tensors", "write_atomically"]

_KEY = "narrows"


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
        temporary.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write {path}: {error.strerror}; what was there before is unchanged. "
            "Free space or choose another folder with --out, then run the same command again"
        ) from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header to one safetensors file, atomically."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(path, serialise(plain, metadata={_KEY: json.dumps(header)}))


def load_tensors(path: Path, device: str | torch.device = "cpu") -> tuple[dict[str, Tensor], Any]:
    """Read what `save_tensors` wrote: tensors and header.

    Raises:
        CheckpointError: for a file that is missing, truncated, of another format (a pickled `.pt`
            file, say, which is never opened), or not written by this library.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a complete safetensors file ({error}); "
            "delete it to start over, or restore a copy"
        ) from error
    if header is None:
        raise CheckpointError(f"{path} is a safetensors file, but this library did not write it")
    return tensors, json.loads(header)
