"""Where stochastic models get their noise from, so that a run can say which numbers were drawn.

A model asks `standard_normal(shape, like)`. By default that is torch's global generator. Training
puts a seeded source in its place with `noise_from(source)`; the source of a stack of models hands
each member the numbers that it would have drawn alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["NoiseSource", "SeededNoise", "noise_from", "standard_normal"]


class NoiseSource(Protocol):
    """Something that hands out independent standard normal numbers."""

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Tensor of `shape`, with the dtype and device of `like`."""
        ...


class SeededNoise:
    """Noise from one generator of its own."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw from the generator, which must live on the device of `like`."""
        return torch.randn(
            tuple(shape), generator=self.generator, dtype=like.dtype, device=like.device
        )


_source: ContextVar[NoiseSource | None] = ContextVar("narrows_noise", default=None)


@contextmanager
def noise_from(source: NoiseSource) -> Iterator[None]:
    """Draw all noise of our models from `source` inside the block."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def standard_normal(shape: Sequence[int], like: Tensor) -> Tensor:
    """Standard normal numbers of `shape`, with the dtype and device of `like`."""
    source = _source.get()
    if source is None:
        return torch.randn(tuple(shape), dtype=like.dtype, device=like.device)
    return source.normal(shape, like)
