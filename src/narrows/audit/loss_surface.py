"""The loss around an image, in the plane of an attack's direction and a random one.

    L(x + a d + b r),  |a| + |b| <= 1:  d = x_adv - x, r random, both of size eps

The points of the ball that the plane is sure to hold form a diamond. Gradients that can be climbed
show as a slope; a plain with a cliff, or a ripple, says that no gradient method can be trusted.

Source: Korshunova et al. (2021), arXiv 2107.05712, Figs. 4 and 10. Deviations: both directions are
stretched to the radius, and points outside [0, 1] are brought back to it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from narrows.attacks import Attack
from narrows.attacks import norms as geometry
from narrows.attacks.losses import resolve_loss
from narrows.audit._base import Case
from narrows.errors import InputError

__all__ = ["LossSurface", "loss_surface"]


class LossSurface(NamedTuple):
    """A grid of losses for each of `n` images, to be drawn.

    Attributes:
        steps: `[k]`, the values of a and of b, in units of the radius.
        loss: `[n, k, k]`, at `[image, a, b]`.
        correct: `[n, k, k]` bool, whether the model is right there.
        inside: `[k, k]` bool, the diamond.
    """

    steps: Tensor
    loss: Tensor
    correct: Tensor
    inside: Tensor


def loss_surface(
    case: Case,
    rows: Tensor,
    *,
    attack: Attack | None = None,
    points: int = 41,
    reach: float = 1.0,
    loss: str = "cross_entropy",
) -> LossSurface:
    """Losses on a grid around some of a case's images.

    Args:
        case: model, images, radius and seed.
        rows: `[n]`, which images.
        attack: whose direction is taken; by default the usual PGD, as the audit ran it.
        points: of the grid, a side; odd, so that the image itself is one.
        reach: how far the grid goes, in units of the radius.
        loss: name of an attack's loss.

    Raises:
        InputError: for rows that there are not, or fewer than 3 or an even number of points.
    """
    if points < 3 or points % 2 == 0:
        raise InputError(f"points must be odd and at least 3, got {points}")
    if rows.dim() != 1 or not len(rows) or rows.min() < 0 or rows.max() >= len(case.x):
        raise InputError(f"rows must be indices [n] in 0..{len(case.x) - 1}, got {rows.tolist()}")
    x, y = case.x[rows], case.y[rows]
    x_adv = case.plain(attack or case.pgd()).x_adv[rows]
    noise = torch.randn(x.shape, generator=case.generator(), dtype=x.dtype, device=x.device)
    towards, across = _stretched(x_adv - x, noise, case), _stretched(noise, noise, case)
    steps = torch.linspace(-reach, reach, points, dtype=x.dtype, device=x.device)
    measure = resolve_loss(loss)
    losses, right = [], []
    with case.quiet():
        for a in steps:
            # One row of the grid at once: [n * k, ...].
            moved = x + a * towards
            grid = moved.unsqueeze(1) + steps.view(-1, *(1,) * (x.dim() - 1)) * across.unsqueeze(1)
            logits = case.subject(grid.flatten(0, 1).clamp(0, 1))
            labels = y.repeat_interleave(points)
            losses.append(measure(logits, labels).view(len(x), points))
            right.append((logits.argmax(1) == labels).view(len(x), points))
    inside = steps.abs()[:, None] + steps.abs() <= 1 + 1e-6
    return LossSurface(steps, torch.stack(losses, 1), torch.stack(right, 1), inside)


def _stretched(direction: Tensor, instead: Tensor, case: Case) -> Tensor:
    """Of size eps: in Linf a corner of the ball, as a sign step's is; random where it is zero."""
    still = geometry.per_image(geometry.size(direction, "linf") == 0, direction)
    unit = geometry.steepest(torch.where(still, instead, direction), case.near_norm)
    return case.near_eps * unit
