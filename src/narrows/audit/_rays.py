"""RayS: a search along rays of signs that asks the model for nothing but its class.

    r(d) = min {r: f(x + r d) is wrong},  d in {-1, 1}^D;   flip halves, quarters, ... of d,
    keep a flip if x + r d with the smallest r so far is still wrong, then bisect r

Where confidence misleads, every attack that climbs a score is led astray; classes cannot mislead.

Source: Chen & Gu (2020), arXiv 2006.12792, Algorithms 1 and 2, who propose it against false
robustness. Deviations: the first ray points to the nearest image of another class among those that
are attacked, not along (1, ..., 1); in L2 the ray has length 1; the search ends within the radius.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice, pairwise

import torch
from torch import Tensor

from narrows.attacks import FixedEps, Query
from narrows.attacks.norms import per_image
from narrows.checks import check_count

__all__ = ["RayS"]

_BISECTIONS = 8


@dataclass(frozen=True, kw_only=True)
class RayS(FixedEps):
    """Search by classes alone.

    Args:
        queries: flips of signs that are tried at each image.

    Example:
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.eye(2))
        >>> x, y = torch.tensor([[0.6, 0.5]]), torch.tensor([0])
        >>> RayS(eps=0.06)(model, x, y).robust_accuracy
        0.0
    """

    queries: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.queries, "queries")

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Flip signs, block by block, of all images at once.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]` images.
            generator: not used.
        """
        signs = _towards_others(x, query.labels).flatten(1)
        farthest = 1.0 if self.norm == "linf" else math.sqrt(signs.shape[1])
        radius = x.new_full((len(x),), farthest)
        everyone = torch.arange(len(x), device=x.device)
        wrong = self._wrong(query, x, everyone, signs, radius)
        self._shorten(query, x, everyone[wrong], signs, radius)
        known = wrong.clone()  # whether x + radius * signs is known to be wrong
        for first, last in islice(_blocks(signs.shape[1]), self.queries):
            rows = everyone[~known | (radius > self.eps)]
            if not len(rows):
                break
            flipped = signs.clone()
            flipped[rows, first:last] *= -1
            nearer = rows[self._wrong(query, x, rows, flipped, radius)]
            signs[nearer] = flipped[nearer]
            known[nearer] = True
            self._shorten(query, x, nearer, signs, radius)
        return self._point(x, signs, radius.clamp_max(self.eps))

    def _point(self, x: Tensor, signs: Tensor, radius: Tensor) -> Tensor:
        unit = signs if self.norm == "linf" else signs / math.sqrt(signs.shape[1])
        return (x + per_image(radius, x) * unit.view_as(x)).clamp(0, 1)

    def _wrong(
        self, query: Query, x: Tensor, rows: Tensor, signs: Tensor, radius: Tensor
    ) -> Tensor:
        logits = query.logits(self._point(x[rows], signs[rows], radius[rows]))
        return query.fooled(logits, rows)

    def _shorten(
        self, query: Query, x: Tensor, rows: Tensor, signs: Tensor, radius: Tensor
    ) -> None:
        """Bisect `radius` in place at `rows`, where its end is wrong, until it is short enough."""
        low, high = torch.zeros_like(radius), radius
        for _ in range(_BISECTIONS):
            if not len(rows):
                return
            middle = (low + high) / 2
            wrong = self._wrong(query, x, rows, signs, middle)
            high[rows[wrong]] = middle[rows[wrong]]
            low[rows[~wrong]] = middle[rows[~wrong]]


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    """All of it, halves, quarters, ..., single coordinates, and those over and over again."""
    for level in count():
        parts = min(2**level, size)
        edges = [round(size * part / parts) for part in range(parts + 1)]
        yield from pairwise(edges)


def _towards_others(x: Tensor, labels: Tensor) -> Tensor:
    """Signs of the way from each of `x: [n, ...]` to the nearest image of another class."""
    distance = torch.cdist(x.flatten(1), x.flatten(1))
    distance = distance.masked_fill(labels[:, None] == labels, math.inf)
    way = x[distance.argmin(1)] - x
    return torch.where(way < 0, -1.0, 1.0).to(x.dtype)
