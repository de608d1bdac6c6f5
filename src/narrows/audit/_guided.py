"""Attacks that climb a score of another network, and look at the model after every step.

    g <- mu g + grad L(guide(x_adv), y) / |grad L|_1,   x_adv <- clip(x_adv + step * steepest(g))

The first point at which the model itself is wrong is kept. A transfer attack that stops where the
guide is fooled would stop too early: the two boundaries are not the same.

Source: Dong et al. (2018), arXiv 1710.06081, for the momentum, without which attacks transfer less.
Deviation: the model is asked for its class at each step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from narrows.attacks.losses import resolve_loss
from narrows.attacks.norms import ascent, clip, per_image, steepest
from narrows.attacks.pgd import step_length
from narrows.audit._base import Case
from narrows.models.noise import forked_rng
from narrows.models.outputs import logits_of

__all__ = ["climb_guide", "guided_points"]

_MOMENTUM = 0.9


def climb_guide(case: Case, view: str, *, loss: str = "margin", start: str = "image") -> int:
    """Attack what nothing has fooled yet along the gradient of a view; how many that fooled.

    Args:
        case: to be attacked.
        view: whose score is climbed; whether the model is fooled is asked of the model.
        loss: `"margin"` or `"cross_entropy"`.
        start: `"image"`, or `"random"` for a random point of the ball.
    """
    guide, rows = case.view(view), case.survivors
    if guide is None or not len(rows):
        return 0
    x_adv = guided_points(case, guide, rows, loss=loss, start=start)
    fooled = case.offer(
        f"{loss} of {view}",
        x_adv,
        rows,
        forwards=2 * len(rows) * case.budget.steps,
        backwards=len(rows) * case.budget.steps,
    )
    return int(fooled.sum())


def guided_points(
    case: Case,
    guide: nn.Module,
    rows: Tensor,
    *,
    loss: str = "margin",
    start: str = "image",
    reach: float = 1.0,
) -> Tensor:
    """Points `[b, ...]` of the balls around the images `rows`: the first that fool, or the last.

    Args:
        case: to be attacked.
        guide: whose loss is climbed.
        rows: `[b]`.
        loss: `"margin"` or `"cross_entropy"`.
        start: `"image"` or `"random"`.
        reach: radius of the balls, in radii of the case.
    """
    x, y, eps = case.x[rows], case.y[rows], reach * case.eps
    dtype = getattr(guide, "dtype", None) or x.dtype
    objective = resolve_loss(loss, case.classes)
    step_size = step_length(case.norm, eps, case.budget.steps)
    x_adv, momentum = x, torch.zeros_like(x)
    if start == "random":
        noise = torch.randn(x.shape, generator=case.generator(), device=x.device)
        corner = case.near_eps * steepest(noise.to(x), case.near_norm)
        x_adv = clip(x + reach / 2 * corner, x, case.norm, eps)
    kept, fooled = x.clone(), torch.zeros_like(y, dtype=torch.bool)
    with forked_rng(x.device, case.seed), case.restored():
        for _ in range(case.budget.steps):
            with torch.enable_grad():
                at = x_adv.to(dtype).detach().requires_grad_()
                value = objective(logits_of(guide, at), y).sum()
                (gradient,) = torch.autograd.grad(
                    value, at, allow_unused=True, materialize_grads=True
                )
            gradient = gradient.nan_to_num(0, 0, 0).to(x.dtype)
            size = gradient.abs().flatten(1).sum(1).clamp_min(torch.finfo(x.dtype).tiny)
            momentum = _MOMENTUM * momentum + gradient / per_image(size, gradient)
            moved = x_adv + step_size * ascent(momentum, x_adv, case.norm)
            x_adv = clip(moved, x, case.norm, eps)
            with torch.no_grad():
                wrong = logits_of(case.subject, x_adv).argmax(1) != y
            kept = torch.where(per_image(fooled, x), kept, x_adv)
            fooled |= wrong & (not case.stochastic)
            if fooled.all():
                break
    return kept
