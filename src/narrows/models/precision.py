"""Losses and scales in at least float32, in whatever precision the network runs.

Autocast runs matrix products in half precision. The logarithm of a small scale, a difference of two
large terms or a normal quantile is too inexact in half precision. So the loss is computed with
autocast off, on outputs that are converted to float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["at_least_float32", "full_precision", "in_autocast"]

_HALF = (torch.bfloat16, torch.float16)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Inside the block, switch autocast off for a device; no effect where it has none (meta).

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16), full_precision(torch.device("cpu")):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.float32
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def in_autocast(device: torch.device) -> bool:
    """Whether autocast is on for a device; false for one that has none."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32, anything else unchanged.

    Example:
        >>> at_least_float32(torch.zeros(1, dtype=torch.float16)).dtype
        torch.float32
    """
    return values.float() if values.dtype in _HALF else values
