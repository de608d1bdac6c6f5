"""What attacks share that see nothing of a model but its labels: starts, bisection, a budget."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from narrows.attacks._nearest import Nearest
from narrows.attacks.norms import ORDER, per_image, size
from narrows.attacks.query import Query
from narrows.types import Norm

__all__ = ["Decisions"]

_NOISE = 32  # noise images of each kind that are tried as starting points, in each round
_ROUNDS = 8  # of further noise for images that have no starting point yet
_FALLBACK = 0.025  # of the way to the starting point, where an enlargement begins
_GRAINS = 4  # least bracket of a bisection, in units of the rounding of numbers near 1


class Decisions:
    """A model that answers with a label, and what each of `n` images has spent of its budget.

    An answer is whether an image fools the model: the argmax of its logits, which for a stochastic
    model are averaged over the draws of the attack. Nothing else is read.

    Args:
        query: the model, and the labels of the images.
        x: `[n, ...]`, the images.
        norm: in which the nearest success is sought.
        queries: budget of each image.
        chunk: images that are sent forward at once.
        generator: of the noise images.

    Attributes:
        nearest: the nearest success so far at each image.
        spent: `[n]`, queries of each image.
        start: `[n, ...]`, the starting points; the images themselves where there is none.
    """

    def __init__(
        self,
        query: Query,
        x: Tensor,
        norm: Norm,
        queries: int,
        chunk: int,
        generator: torch.Generator,
    ) -> None:
        self._query = query
        self._norm: Norm = norm
        self._queries = queries
        self._chunk = chunk
        self.nearest = Nearest(x, norm, latest=query.stochastic)
        self.spent = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        self.start = x.clone()
        self._find_starts(x, generator)

    def left(self, rows: Tensor) -> Tensor:
        """Queries that each of `rows: [b]` has left: `[b]`."""
        return self._queries - self.spent[rows]

    def started(self) -> Tensor:
        """The images that have a starting point: `[b]`."""
        return torch.isfinite(self.nearest.distance).nonzero().squeeze(1)

    def unfinished(self, rows: Tensor, eps: float | None, reserve: int) -> Tensor:
        """Places in `rows` of the images whose search continues.

        Args:
            rows: `[b]`, the images.
            eps: radius within which a success ends it; a stochastic model's may be only luck.
            reserve: queries that the next step may take at most.
        """
        going = self.left(rows) >= reserve
        if eps is not None and not self._query.stochastic:
            going &= self.nearest.distance[rows] > eps
        return going.nonzero().squeeze(1)

    def fooled(self, x: Tensor, rows: Tensor) -> Tensor:
        """Whether each of `x: [b, ...]` fools the model: `[b]` bool; counts one query for each.

        Args:
            x: the images to ask about.
            rows: `[b]`, the image that each belongs to; an image may occur several times.
        """
        self.spent += torch.bincount(rows, minlength=len(self.spent))
        parts = zip(x.split(self._chunk), rows.split(self._chunk), strict=True)
        return torch.cat(
            [self._query.fooled(self._query.logits(part, at), at) for part, at in parts]
        )

    def bisect(self, x_adv: Tensor, rows: Tensor, precision: float) -> Tensor:
        """The boundary between the images and the successes `x_adv: [b, ...]`, from its far side.

        With L2 the search goes along the line to the image, with Linf along the projections onto
        balls around it.

        Args:
            x_adv: which fool the model.
            rows: `[b]`, the images.
            precision: share of the distance at which to stop.
        """
        origin = self.nearest.origin[rows]
        low, high = x_adv.new_zeros(len(rows)), x_adv.new_ones(len(rows))
        reach = size(x_adv - origin, "linf").clamp_min(torch.finfo(x_adv.dtype).tiny)
        least = (_GRAINS * self._query.grain / reach).clamp_min(precision)
        while len(at := ((high - low > least * high) & (self.left(rows) > 0)).nonzero().squeeze(1)):
            middle = (low[at] + high[at]) / 2
            hit = self.fooled(self._between(origin[at], x_adv[at], middle), rows[at])
            high[at[hit]], low[at[~hit]] = middle[hit], middle[~hit]
        result = self._between(origin, x_adv, high)
        self.nearest.offer(rows, result, torch.ones_like(rows, dtype=torch.bool))
        return result

    def _between(self, origin: Tensor, x_adv: Tensor, share: Tensor) -> Tensor:
        delta = x_adv - origin
        if self._norm == "linf":
            limit = per_image(share * size(delta, "linf"), delta)
            return origin + delta.clamp(-limit, limit)
        return origin + per_image(share, delta) * delta

    def finish(self, eps: float | None) -> Tensor:
        """The images to return: `[n, ...]`, within `eps` if it is given.

        Against a stochastic model the successes are enlarged until fresh draws confirm them; where
        none does, the way to the starting point is tried.
        """
        nearest, query = self.nearest, self._query
        everyone = torch.arange(len(self.spent), device=self.spent.device)
        if eps is not None:
            return nearest.inside(query, everyone, eps)
        if query.stochastic:
            delta, successful = nearest.x - nearest.origin, torch.isfinite(nearest.distance)
            rows = successful.nonzero().squeeze(1)
            rows = nearest.enlarge(query, rows, delta[rows])
            way = self.start[rows] - nearest.origin[rows]
            nearest.enlarge(query, rows, _FALLBACK * way)
        return nearest.x

    def _find_starts(self, x: Tensor, generator: torch.Generator) -> None:
        """Begin at the nearest image of the chunk, or of noise, that the model calls otherwise."""
        missing = torch.arange(len(x), device=x.device)
        pool = torch.cat([x, _noise(x, generator)])
        for _ in range(1 + _ROUNDS):
            parts = pool.split(self._chunk)
            answers = torch.cat([self._query.logits(part).argmax(1) for part in parts])
            self.spent[missing] += -(-len(pool) // len(missing))
            hit = answers == self._query.labels[missing].unsqueeze(1)
            hit = hit if self._query.targeted else ~hit
            apart = torch.cdist(x[missing].flatten(1), pool.flatten(1), p=ORDER[self._norm])
            best, at = apart.masked_fill(~hit, math.inf).min(1)
            good = torch.isfinite(best)
            self.start[missing[good]] = pool[at[good]]
            rows = missing[good]
            self.nearest.offer(rows, self.start[rows], torch.ones_like(good[good]))
            missing = missing[~good]
            if not len(missing) or (self.left(missing) <= 0).all():
                return
            pool = _noise(x, generator)


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform noise, and black and white noise of every brightness: `[2 k, ...]`."""
    shape = (_NOISE, *x.shape[1:])
    grey = torch.rand(shape, dtype=x.dtype, device=x.device, generator=generator)
    other = torch.rand(shape, dtype=x.dtype, device=x.device, generator=generator)
    brightness = torch.linspace(0, 1, _NOISE, dtype=x.dtype, device=x.device)
    return torch.cat([grey, (other < per_image(brightness, other)).to(x.dtype)])
