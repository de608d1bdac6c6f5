"""Rows of an epoch's batches, for one model or for many that train in the same step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from narrows.errors import InputError

__all__ = ["epoch_rows"]


def epoch_rows(n: int, batch_size: int, generators: Sequence[torch.Generator]) -> Iterator[Tensor]:
    """The rows of each batch of one epoch, in a random order for each member.

    When this is called, every member draws one permutation of `0..n-1` from its own generator, so
    that its batches do not depend on other members. The incomplete last batch is dropped; if
    `n < batch_size`, the only batch holds all `n` rows.

    Args:
        n: number of samples.
        batch_size: rows per batch.
        generators: one per member, all on one device.

    Returns:
        Iterator of int64 `[members, min(batch_size, n)]`.

    Raises:
        InputError: if `n` or `batch_size` is below 1, or there is no generator.

    Example:
        >>> rows = epoch_rows(5, 2, [torch.Generator().manual_seed(0)])
        >>> [tuple(batch.shape) for batch in rows]
        [(1, 2), (1, 2)]
    """
    if n < 1 or batch_size < 1 or not generators:
        raise InputError(
            "expected at least one sample, one row per batch and one generator, "
            f"got n={n}, batch_size={batch_size}, {len(generators)} generators"
        )
    size = min(batch_size, n)
    order = torch.stack([torch.randperm(n, generator=g, device=g.device) for g in generators])
    return iter(order[:, : n - n % size].split(size, dim=1))
