"""Looks at a model's own gradients and losses, as it returns them: unguarded, a few images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from narrows.attacks.losses import resolve_loss
from narrows.audit._base import Case
from narrows.audit._statistics import more_than
from narrows.models.outputs import logits_of

__all__ = [
    "Slope",
    "by_gradient",
    "correct_rows",
    "counts",
    "share",
    "slope",
]

_MOST = 128
TOLERANCE = 0.02


class Slope(NamedTuple):
    """A loss `[n]` and its gradient `[n, ...]`, zero if it has no graph; whether it has one."""

    value: Tensor
    gradient: Tensor
    graph: bool


def correct_rows(case: Case) -> Tensor:
    """Rows of the first images that the model has right."""
    return case.clean.nonzero().squeeze(1)[:_MOST]


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
    model = (case.view(view) if view else None) or case.subject
    with case.quiet(), torch.enable_grad():
        torch.manual_seed(seed)
        at = x.clone().requires_grad_()
        logits = logits_of(model, at).to(at.dtype)
        value = resolve_loss(loss)(logits, case.y[rows])
        if not value.requires_grad:
            return Slope(value.detach(), torch.zeros_like(x), graph=False)
        (gradient,) = torch.autograd.grad(
            value.sum(), at, allow_unused=True, materialize_grads=True
        )
    return Slope(value.detach(), gradient, graph=True)


def counts(images: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Whether `images: [n]` bool are more than a tolerated share, beyond sampling error."""
    return more_than(int(images.sum()), len(images), tolerance)


def by_gradient(case: Case) -> Tensor:
    """`[n]` bool, what PGD fooled on the cross-entropy or on the margin, on the model as it is."""
    usual, margin = (case.plain(case.pgd(loss=loss)) for loss in ("cross_entropy", "margin"))
    return usual.success | margin.success


def share(images: Tensor) -> float:
    """Share of `images: [n]` bool."""
    return images.double().mean().item()
