"""Looks at a model's own gradients and losses, as it returns them: unguarded, a few images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from narrows.attacks.losses import resolve_loss
from narrows.audit._base import Case
from narrows.audit.views import differentiated
from narrows.models.outputs import logits_of

__all__ = ["Slope", "by_gradient", "compare", "exceeds", "few_correct", "per_pixel", "slope"]

_FEW = 128


class Slope(NamedTuple):
    """A loss `[n]` and its gradient `[n, ...]`, zero if it has no graph; whether it has one."""

    value: Tensor
    gradient: Tensor
    graph: bool


def few_correct(case: Case) -> Tensor:
    """Rows of the first images that the model has right."""
    return case.clean.nonzero().squeeze(1)[:_FEW]


def slope(case: Case, x: Tensor, rows: Tensor, loss: str, view: str = "", seed: int = 0) -> Slope:
    """Loss and gradient at `x: [b, ...]`, whose labels are those of `rows`.

    Args:
        case: the case.
        x: points to look at.
        rows: `[b]`.
        loss: name of an attack's loss.
        view: how to look at the model; empty for the model itself, with all its faults.
        seed: of the model's noise.
    """
    model = case.view(view) if view else case.model
    if model is None:
        model = case.model
    with case.quiet(), torch.enable_grad():
        torch.manual_seed(seed)
        at = x.clone().requires_grad_()
        logits = differentiated(lambda x: logits_of(model, x), at).to(at.dtype)
        value = resolve_loss(loss)(logits, case.y[rows])
        if not value.requires_grad:
            return Slope(value.detach(), torch.zeros_like(x), graph=False)
        (gradient,) = torch.autograd.grad(
            value.sum(), at, allow_unused=True, materialize_grads=True
        )
    return Slope(value.detach(), gradient, graph=True)


def per_pixel(case: Case) -> float:
    """How far each pixel moves at the radius, if all of them move alike."""
    return case.eps if case.norm == "linf" else case.eps / case.x[0].numel() ** 0.5


def exceeds(case: Case, gain: float, tolerance: float = 0.02) -> bool:
    """Whether a difference of accuracies is more than chance and rounding: two images at least."""
    return gain > max(tolerance, 1.5 / len(case.x))


def compare(weaker: Tensor, stronger: Tensor) -> float:
    """Share of images that the supposedly weaker attack fooled and the stronger one did not."""
    return (weaker & ~stronger).double().mean().item()


def by_gradient(case: Case) -> Tensor:
    """`[n]` bool, what PGD fooled on the cross-entropy or on the margin, on the model as it is."""
    usual, margin = (case.plain(case.pgd(loss=loss)) for loss in ("cross_entropy", "margin"))
    return usual.success | margin.success
