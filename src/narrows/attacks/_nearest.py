"""What attacks on the smallest perturbation share: the nearest success so far, and its last look.

    lead(s) = how far x + s * (nearest - x) is across the boundary, from s = 0 (not) to s = 1 (yes)

A search ends a little past the boundary. On a deterministic model a few secant steps along the line
to the image take back what is left. A stochastic model is undecided at its boundary, so there the
perturbation is enlarged until fresh draws confirm it. What one lucky draw found beside the image
leads nowhere however much it is enlarged: such an image, and one that no draw was found for, moves
along the mean of many gradients instead.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from narrows.attacks._base import Best
from narrows.attacks.losses import margin
from narrows.attacks.norms import per_image, size, steepest
from narrows.attacks.query import Query
from narrows.types import Norm

__all__ = ["Nearest"]

_LOOKS = 3
_SHARE = 0.1  # of the secant's rest: aiming at the boundary itself, rounding would decide the side
_ENLARGED = (1, *(1 + 0.02 * 2**k for k in range(12)))
_NEAR = 0.02  # of the box, where an image that nothing led away from begins to move
_GRADIENTS = 50  # looks that its way is averaged over


class Nearest:
    """The nearest image so far that fools the model, for each of a chunk.

    Of a stochastic model it is the latest one, which a search that closes in has left near the
    boundary: the nearest would be the luckiest draw.

    Attributes:
        origin: `[n, ...]`, the images.
    """

    def __init__(self, x: Tensor, norm: Norm, *, latest: bool = False) -> None:
        self.origin = x
        self._norm: Norm = norm
        self._best = Best(x)
        self._offers = 0 if latest else None

    @property
    def x(self) -> Tensor:
        """`[n, ...]`; the image itself where nothing has fooled the model yet."""
        return self._best.x

    @property
    def distance(self) -> Tensor:
        """`[n]`; inf where nothing has fooled the model yet."""
        found = torch.isfinite(self._best.value)
        return size(self.x - self.origin, self._norm).where(found, torch.inf)

    def offer(self, rows: Tensor, x_adv: Tensor, fooled: Tensor) -> None:
        """Take those of the attempts `x_adv: [b, ...]` that are `fooled: [b]` and nearer."""
        value = -size(x_adv - self.origin[rows], self._norm)
        if self._offers is not None:
            self._offers += 1
            value = torch.full_like(value, self._offers)
        self._best.offer(rows, x_adv, value.where(fooled, -torch.inf), torch.zeros_like(fooled))

    def finish(self, query: Query) -> Tensor:
        """The images to return: `[n, ...]`, moved along the line through `origin`."""
        if query.stochastic:
            self._confirm(query)
        elif len(rows := torch.isfinite(self.distance).nonzero().squeeze(1)):
            self._tighten(query, rows)
        return self.x

    def _tighten(self, query: Query, rows: Tensor) -> None:
        origin, delta = self.origin[rows], self.x[rows] - self.origin[rows]
        low, high = delta.new_zeros(len(rows)), delta.new_ones(len(rows))
        behind = query.objective(query.logits(origin, rows), rows, margin)
        ahead = query.objective(query.logits(self.x[rows], rows), rows, margin)
        for _ in range(_LOOKS):
            secant = low + (high - low) * (behind / (behind - ahead)).nan_to_num(0).clamp(0, 1)
            share = secant + _SHARE * (high - secant)
            attempt = origin + per_image(share, delta) * delta
            logits = query.logits(attempt, rows)
            fooled = query.fooled(logits, rows)
            lead = query.objective(logits, rows, margin)
            self.offer(rows, attempt, fooled)
            high, ahead = share.where(fooled, high), lead.where(fooled, ahead)
            low, behind = low.where(fooled, share), behind.where(fooled, lead)

    def _confirm(self, query: Query) -> None:
        """Enlarge what was found until it is confirmed; elsewhere go up the mean gradient."""
        delta, found = self.x - self.origin, torch.isfinite(self.distance)
        rows = found.nonzero().squeeze(1)
        left = self._enlarge(query, rows, delta[rows])
        rows = torch.cat([left, (~found).nonzero().squeeze(1)])
        if len(rows):
            way = self._uphill(query, rows)
            least = _NEAR * (1 if self._norm == "linf" else math.sqrt(way[0].numel()))
            self._enlarge(query, rows, least * way)

    def _enlarge(self, query: Query, rows: Tensor, delta: Tensor) -> Tensor:
        """Make `delta: [b, ...]` larger until fresh draws confirm it; where they never do."""
        # On the boundary a verdict is a toss of a coin: be two standard errors past it.
        enough = min(0.5 + query.verify_draws**-0.5, 1)
        for factor in _ENLARGED:
            if not len(rows):
                break
            self.x[rows] = (self.origin[rows] + factor * delta).clamp_(0, 1)
            verdict = query.verdict(self.x[rows], rows)
            open_ = ~verdict.fooled | (verdict.fooled_rate < enough)
            rows, delta = rows[open_], delta[open_]
        return rows

    def _uphill(self, query: Query, rows: Tensor) -> Tensor:
        """Steepest direction of the margin averaged over many draws, of size one: `[b, ...]`."""
        origin = self.origin[rows]
        total = torch.zeros_like(origin)
        for _ in range(_GRADIENTS):
            total += query.ascend(origin, rows, margin).gradient
        return steepest(total, self._norm)
