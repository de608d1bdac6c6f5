"""The nearest linearised boundary of a model, found without evaluating every class."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.attacks.norms import dual_size
from narrows.attacks.query import Query
from narrows.types import Norm

__all__ = ["Boundary", "BoundarySearch"]


class Boundary(NamedTuple):
    """The nearest boundary of each of `b` images.

    Attributes:
        distance: `[b]`, inf where no class has a gradient.
        lead: `[b]`, how far the rival's logit is above that of the class to leave; 0 without any.
        normal: `[b, ...]`, the gradient of the lead; 0 without any.
    """

    distance: Tensor
    lead: Tensor
    normal: Tensor


class BoundarySearch:
    """Finds the nearest boundary of the linearisation at one point of a search after another.

        distance_k = |f_k - f_y| / |grad f_k - grad f_y|_dual,    the least over all classes k

    Each class costs a backward pass. So a class is skipped if its boundary would be farther than
    the nearest one even with a gradient `growth` times as long as when it was last computed.

    Args:
        query: the model, and the classes to leave (towards a target, to reach).
        norm: of the distances.
        growth: factor by which gradients may have grown since they were last computed.
    """

    def __init__(self, query: Query, norm: Norm, growth: float) -> None:
        self._query = query
        self._norm: Norm = norm
        self._growth = growth
        self._slopes: Tensor | None = None  # [b, C]: each class's last dual size, inf before

    def keep(self, left: Tensor) -> None:
        """Continue with the images at the places `left` alone."""
        self._slopes = None if self._slopes is None else self._slopes[left]

    def nearest(self, x: Tensor, rows: Tensor, logits: Tensor) -> Boundary:
        """The nearest boundary at each of `x: [b, ...]`.

        Args:
            x: the points of the search, those that `keep` has left in the same order.
            rows: `[b]`, which labels of the query are theirs.
            logits: `[b, C]` at `x`, or a guess at them, from which the order of classes follows.
        """
        slopes = torch.full_like(logits, math.inf) if self._slopes is None else self._slopes
        self._slopes = slopes
        start, rivals, guess = self._rivals(rows, logits, slopes)
        distance = x.new_full((len(x),), math.inf)
        leads, normal = torch.zeros_like(distance), torch.zeros_like(x)
        pending = torch.arange(len(x), device=x.device)
        done, width = 0, 1 if torch.isfinite(slopes).any() else rivals.shape[1]
        while len(pending):
            columns = rivals[pending, done : done + width]
            gaps = self._query.gaps(x[pending], start[pending], columns, rows[pending])
            for k, (lead, gradient) in enumerate(gaps):
                slope = dual_size(gradient, self._norm)
                slopes[pending, columns[:, k]] = slope.where(slope > 0, math.inf)
                candidate = lead.abs() / slope
                closer = candidate < distance[pending]
                distance[pending[closer]] = candidate[closer]
                leads[pending[closer]] = lead[closer]
                normal[pending[closer]] = gradient[closer]
            done += width
            if done == rivals.shape[1]:
                break
            pending = pending[guess[pending, done] < self._growth * distance[pending]]
        return Boundary(distance, leads, normal)

    def _rivals(
        self, rows: Tensor, logits: Tensor, slopes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The class to leave `[b]`, its rivals `[b, k]`, and guesses at their distances, ascending.

        Towards a target that is the class of the largest logit, and the target alone.
        """
        labels = self._query.labels[rows].unsqueeze(1)
        if self._query.targeted:
            return logits.argmax(1), labels, torch.zeros_like(labels, dtype=logits.dtype)
        behind = (logits.gather(1, labels) - logits).abs() / slopes
        guess, rivals = behind.scatter(1, labels, math.inf).sort(1)
        return labels.squeeze(1), rivals[:, :-1], guess[:, :-1]
