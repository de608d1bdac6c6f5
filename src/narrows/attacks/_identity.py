"""Which images, labels and weights a ledger belongs to."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

__all__ = ["digest"]


def digest(x: Tensor, y: Tensor, model: nn.Module | None) -> str:
    """SHA-256 of images, labels, and a model's form and weights."""
    tensors = {"x": x, "y": y.to(torch.int64), **(model.state_dict() if model else {})}
    found = hashlib.sha256(repr(model).encode())
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):  # the extra state of a quantised layer, say
            found.update(f"{name} {tensor!r}".encode())
            continue
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        plain = tensor.detach().cpu().contiguous()
        found.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
