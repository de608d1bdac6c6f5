"""The nearest success so far of a search for the smallest perturbation, and its final refinement.

A search ends a little past the boundary. Along the line from the image to the success,

    lead(s) = lead over the class to leave at x + s * (nearest - x),    lead(0) < 0 < lead(1)

and on a deterministic model a few secant steps move s towards the root. A stochastic model is
undecided at its boundary, so there the perturbation is enlarged until fresh draws confirm it. A
success that was only a lucky draw near the image is never confirmed however much it is enlarged.
Such an image, and one without any success, moves along the mean of many gradients instead.
"""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.attacks._best import Best
from narrows.attacks.losses import margin
from narrows.attacks.norms import farthest, per_image, project, size, steepest
from narrows.attacks.query import Query
from narrows.types import Norm

__all__ = ["Nearest"]

_SECANTS = 3
_SHARE = 0.1  # of the way back to the success: at the root itself rounding would decide the side
_FACTORS = (1, *(1 + 0.02 * 2**k for k in range(12)))  # by which a perturbation is enlarged
_FIRST_MOVE = 0.02  # size of the first step along the mean gradient, as a share of [0, 1]
_GRADIENTS = 50  # that are averaged


class Nearest:
    """The nearest image so far that fools the model, for each of `n` images.

    Of a stochastic model the latest success is kept instead, which a search that closes in has
    left near the boundary: the nearest would be the luckiest draw.

    Args:
        x: `[n, ...]`, the images.
        norm: in which perturbations are measured.
        latest: whether the latest success is kept instead of the nearest.

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
        successful = torch.isfinite(self._best.value)
        return size(self.x - self.origin, self._norm).where(successful, torch.inf)

    def offer(self, rows: Tensor, x_adv: Tensor, fooled: Tensor) -> None:
        """Keep those attempts that fool the model and are nearer than what was kept.

        Args:
            rows: `[b]`, the image of each attempt.
            x_adv: `[b, ...]`, the attempts.
            fooled: `[b]` bool.
        """
        value = -size(x_adv - self.origin[rows], self._norm)
        if self._offers is not None:
            self._offers += 1
            value = torch.full_like(value, self._offers)
        self._best.offer(rows, x_adv, value.where(fooled, -torch.inf), torch.zeros_like(fooled))

    def finish(self, query: Query) -> Tensor:
        """The images to return: `[n, ...]`, each refined along the line from its origin."""
        if query.stochastic:
            self._confirm(query)
        elif len(rows := torch.isfinite(self.distance).nonzero().squeeze(1)):
            self._tighten(query, rows)
        return self.x

    def inside(self, query: Query, rows: Tensor, eps: float) -> Tensor:
        """The nearest successes inside a ball; on its surface if the model is stochastic.

        Args:
            query: the model, and the labels of the images.
            rows: `[b]`, the images.
            eps: radius of the ball.
        """
        origin = self.origin[rows]
        delta = self.x[rows] - origin
        if query.stochastic:
            grown = eps / size(delta, self._norm).clamp_min(torch.finfo(delta.dtype).tiny)
            delta = delta * per_image(grown.clamp_min(1), delta)
        return (origin + project(delta, self._norm, eps)).clamp_(0, 1)

    def _tighten(self, query: Query, rows: Tensor) -> None:
        """Move the successes at `rows` back to the boundary by secant steps."""
        origin, delta = self.origin[rows], self.x[rows] - self.origin[rows]
        low, high = delta.new_zeros(len(rows)), delta.new_ones(len(rows))
        lead_low = query.objective(query.logits(origin, rows), rows, margin)
        lead_high = query.objective(query.logits(self.x[rows], rows), rows, margin)
        for _ in range(_SECANTS):
            root = (lead_low / (lead_low - lead_high)).nan_to_num(0).clamp(0, 1)
            secant = low + (high - low) * root
            share = secant + _SHARE * (high - secant)
            attempt = origin + per_image(share, delta) * delta
            logits = query.logits(attempt, rows)
            fooled = query.fooled(logits, rows)
            lead = query.objective(logits, rows, margin)
            self.offer(rows, attempt, fooled)
            high, lead_high = share.where(fooled, high), lead.where(fooled, lead_high)
            low, lead_low = low.where(fooled, share), lead_low.where(fooled, lead)

    def _confirm(self, query: Query) -> None:
        """Enlarge the successes until fresh draws confirm them; elsewhere follow the gradient."""
        delta, successful = self.x - self.origin, torch.isfinite(self.distance)
        rows = successful.nonzero().squeeze(1)
        unconfirmed = self.enlarge(query, rows, delta[rows])
        rows = torch.cat([unconfirmed, (~successful).nonzero().squeeze(1)])
        if len(rows):
            direction = self._mean_direction(query, rows)
            box = farthest(direction, self._norm)
            self.enlarge(query, rows, _FIRST_MOVE * box * direction)

    def enlarge(self, query: Query, rows: Tensor, delta: Tensor) -> Tensor:
        """Enlarge `delta: [b, ...]` until fresh draws confirm it; return the rows where none do.

        Args:
            query: the model, and the labels of the images.
            rows: `[b]`, the images.
            delta: their perturbations.
        """
        # At the boundary a verdict is left to chance: go two standard errors past it.
        enough = min(0.5 + query.verify_draws**-0.5, 1)
        for factor in _FACTORS:
            if not len(rows):
                break
            self.x[rows] = (self.origin[rows] + factor * delta).clamp_(0, 1)
            verdict = query.verdict(self.x[rows], rows)
            unconfirmed = ~verdict.fooled | (verdict.fooled_rate < enough)
            rows, delta = rows[unconfirmed], delta[unconfirmed]
        return rows

    def _mean_direction(self, query: Query, rows: Tensor) -> Tensor:
        """Steepest direction of the margin averaged over many draws, of size one: `[b, ...]`."""
        origin = self.origin[rows]
        total = torch.zeros_like(origin)
        for _ in range(_GRADIENTS):
            total += query.ascend(origin, rows, margin).gradient
        return steepest(total, self._norm)
