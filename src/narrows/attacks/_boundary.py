"""The boundary of the model's linearisation that is nearest to an image, without looking at all.

    k = argmin |f_k - f_held| / ||grad f_k - grad f_held||_dual

A class is passed over where its boundary, guessed from its logit and from the length that its
gradient had when it was last looked at, is farther than the nearest one by more than that gradient
is likely to have grown.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from narrows.attacks.norms import dual_size
from narrows.attacks.query import Query
from narrows.types import Norm

__all__ = ["nearest_boundary", "rivals_of"]


def nearest_boundary(
    query: Query,
    x: Tensor,
    rows: Tensor,
    held: Tensor,
    rivals: Tensor,
    guess: Tensor,
    slopes: Tensor,
    *,
    norm: Norm,
    growth: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Distance of the nearest rival, its lead over the class held, and its gradient, at `x`.

    Args:
        query: the model.
        x: `[b, ...]`, images.
        rows: `[b]`, which labels of the chunk are theirs.
        held: `[b]`, the class whose region each image is to leave.
        rivals: `[b, k]`, classes to go to, the likeliest to be near first.
        guess: `[b, k]`, guessed distances of their boundaries, ascending.
        slopes: `[b, C]`, dual size of each class's gradient when it was last looked at, inf before;
            brought up to date.
        norm: of the distances.
        growth: factor by which gradients may have grown since.

    Returns:
        `[b]`, `[b]` and `[b, ...]`; inf, 0 and 0 where no class has a gradient.
    """
    nearest = x.new_full((len(x),), math.inf)
    leads, normal = torch.zeros_like(nearest), torch.zeros_like(x)
    pending = torch.arange(len(x), device=x.device)
    looked, width = 0, 1 if torch.isfinite(slopes).any() else rivals.shape[1]
    while len(pending):
        columns = rivals[pending, looked : looked + width]
        gaps = query.gaps(x[pending], held[pending], columns, rows[pending])
        for k, (lead, gradient) in enumerate(gaps):
            slope = dual_size(gradient, norm)
            slopes[pending, columns[:, k]] = slope.where(slope > 0, math.inf)
            closer = (distance := lead.abs() / slope) < nearest[pending]
            nearest[pending[closer]] = distance[closer]
            leads[pending[closer]] = lead[closer]
            normal[pending[closer]] = gradient[closer]
        looked += width
        if looked == rivals.shape[1]:
            break
        pending = pending[guess[pending, looked] < growth * nearest[pending]]
    return nearest, leads, normal


def rivals_of(
    query: Query, rows: Tensor, logits: Tensor, slopes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The class to leave `[b]`, those to go to `[b, k]` and guessed distances to them, ascending.

    Towards a target that is the class of the largest logit, and the target alone.

    Args:
        query: whose labels are meant.
        rows: `[b]`, which of them.
        logits: `[b, C]`.
        slopes: `[b, C]`, dual size of each class's gradient when it was last looked at.
    """
    labels = query.labels[rows].unsqueeze(1)
    if query.targeted:
        return logits.argmax(1), labels, torch.zeros_like(labels, dtype=logits.dtype)
    behind = (logits.gather(1, labels) - logits).abs() / slopes
    guess, rivals = behind.scatter(1, labels, math.inf).sort(1)
    return labels.squeeze(1), rivals[:, :-1], guess[:, :-1]
