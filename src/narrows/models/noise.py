"""The source of the random numbers of stochastic models, so that a run is reproducible.

A model calls `standard_normal(shape, like)`, which draws from torch's global generator by default.
Training replaces it by a seeded source, with `noise_from(source)`; the source of a stack of models
gives each member the numbers that it would draw alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor

__all__ = [
    "NoiseSource",
    "SeededNoise",
    "forked_rng",
    "noise_from",
    "noise_of_rows",
    "standard_normal",
]


class NoiseSource(Protocol):
    """A source of independent standard normal numbers."""

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Tensor of `shape`, with the dtype and device of `like`."""
        ...


class SeededNoise:
    """Noise from one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw from the generator, which must live on the device of `like`."""
        return torch.randn(
            tuple(shape), generator=self.generator, dtype=like.dtype, device=like.device
        )


_source: ContextVar[NoiseSource | None] = ContextVar("narrows_noise", default=None)
_rows: ContextVar[tuple[slice, int] | None] = ContextVar("narrows_noise_rows", default=None)


@contextmanager
def noise_from(source: NoiseSource) -> Iterator[None]:
    """Inside the block, draw all noise of the models of this library from `source`."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


@contextmanager
def noise_of_rows(rows: slice, size: int) -> Iterator[None]:
    """Inside the block, draw for a whole batch and give those rows that the models see of it.

    Args:
        rows: of the batch.
        size: of the batch.
    """
    token = _rows.set((rows, size))
    try:
        yield
    finally:
        _rows.reset(token)


def standard_normal(shape: Sequence[int], like: Tensor) -> Tensor:
    """Standard normal numbers of `shape`, with the dtype and device of `like`.

    Inside `noise_of_rows`, the rows are the first axis of `like`, and of `shape` the first or, with
    several draws of each, the second.
    """
    shape = tuple(shape)
    axis = len(shape) - like.dim()
    rows, size = _rows.get() or (slice(0), 0)
    if shape[axis:] != tuple(like.shape) or len(range(size)[rows]) not in like.shape[:1]:
        return _drawn(shape, like)
    whole = _drawn((*shape[:axis], size, *shape[axis + 1 :]), like)
    return whole[(slice(None),) * axis + (rows,)]


def _drawn(shape: Sequence[int], like: Tensor) -> Tensor:
    source = _source.get()
    if source is None:
        return torch.randn(tuple(shape), dtype=like.dtype, device=like.device)
    return source.normal(shape, like)


@contextmanager
def forked_rng(device: torch.device | str = "cpu", seed: int | None = None) -> Iterator[None]:
    """Restore torch's global generators, those of the CPU and of `device`, after the block.

    Args:
        device: where the block computes.
        seed: seeds the generators at the beginning of the block; `None` leaves their states.

    Example:
        >>> with forked_rng(seed=0):
        ...     first = torch.rand(1)
        >>> with forked_rng(seed=0):
        ...     bool(torch.rand(1) == first)
        True
    """
    device = torch.device(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if seed is not None and device.type == "cuda":
            torch.manual_seed(seed)
        elif seed is not None:  # leaving generators alone that have not been saved
            torch.default_generator.manual_seed(seed)
        yield
