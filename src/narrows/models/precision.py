"""Losses and scales in at least float32, whatever precision the network runs in.

Autocast runs matrix products in half precision and means losses to be exact. A logarithm of a small
scale, a difference of two large terms or the inverse of a normal distribution function is not exact
in eight bits, so what follows the network is computed here: autocast off, half precision raised.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["at_least_float32", "full_precision", "in_autocast"]

_HALF = (torch.bfloat16, torch.float16)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off for a device; one that has none, as the meta device, needs nothing.

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
