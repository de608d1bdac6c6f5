"""Tensors and a JSON header in one safetensors file; reading it executes no code."""

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
from torch import Tensor, nn

from narrows.errors import CheckpointError, StoreError

__all__ = ["digest", "read", "write"]

_KEY = "ledger"


def write(path: Path, header: Any, tensors: Mapping[str, Tensor]) -> None:
    """Write to a temporary file, then rename it.

    Raises:
        StoreError: if it cannot be written.
    """
    plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(serialise(plain, metadata={_KEY: json.dumps(header)}))
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}; what was there before is unchanged"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def read(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """Read what `write` wrote: header and tensors.

    Raises:
        CheckpointError: for a file that is missing, damaged, or not a ledger.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no ledger {path}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a complete safetensors file ({error}); delete it to start over"
        ) from error
    if _KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but not a ledger")
    return json.loads(metadata[_KEY]), tensors


def digest(x: Tensor, y: Tensor, model: nn.Module | None) -> str:
    """SHA-256 of images, labels, and a model's form and weights."""
    tensors = {"x": x, "y": y.to(torch.int64), **(model.state_dict() if model else {})}
    found = hashlib.sha256(repr(model).encode())
    for name, tensor in tensors.items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        plain = tensor.detach().cpu().contiguous()
        found.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
