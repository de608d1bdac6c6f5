"""Whether the gradient is that of the function, and says how the margin changes nearby.

    corr( w u . grad m(x'),  (m(x' + w u) - m(x' - w u)) / 2 ),   u random signs, w = eps / 10

at points x' within half the radius. Layers that pass their input on, not its gradient, are named.

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420, "shattered gradients".
"""

from __future__ import annotations

import math

import torch

from narrows.attacks.losses import margin
from narrows.attacks.norms import random_start
from narrows.audit._base import Case
from narrows.audit._claim import per_pixel
from narrows.audit._probe import correct_rows, slope
from narrows.audit.blocking import blocking_modules
from narrows.models.outputs import logits_of
from narrows.types import Finding

__all__ = ["differentiable"]

_LEAST = 0.5
_PAIRS = 32  # of a difference and a gradient, at least
_SHARE, _WIDE = 10, 1  # parts of the radius, one of which is the width of a difference


def differentiable(case: Case) -> Finding:
    """Fails where differences contradict autograd, or a layer hides its gradient."""
    rows = correct_rows(case)
    if not len(rows):
        return Finding("differentiable", True, "no image is classified correctly", examined=False)
    with case.quiet():
        names = blocking_modules(case.model, case.x[rows[:8]].to(case.subject.takes))
    view = "fixed_noise" if case.stochastic else "plain"
    agreement = _agreement(case, rows, view, _SHARE)
    if case.stochastic and agreement < _LEAST:
        # Held noise may make a step function of a model whose mean has a slope.
        agreement = _agreement(case, rows, "many_draws", _WIDE)
    evidence = f"autograd and finite differences correlate by {agreement:.2f}"
    if names:
        evidence += f"; no true gradient comes through: {', '.join(names)}"
    passed = not names and agreement >= _LEAST
    remedy = (
        ""
        if passed
        else (
            "attack with the identity's gradient in place of such a step, or by finite differences"
        )
    )
    return Finding("differentiable", passed, evidence, remedy, {"correlation": agreement})


def _agreement(case: Case, rows: torch.Tensor, view: str, parts: int) -> float:
    """Correlation over images and directions; 1 where the margin neither moves nor is said to.

    Args:
        case: the case.
        rows: images to look at.
        view: of the model.
        parts: of the radius, one of which is the width of a difference.
    """
    generator = case.generator()
    model = case.view(view) or case.subject
    width = per_pixel(case) / parts
    rows = rows.repeat(math.ceil(_PAIRS / len(rows)))
    x = case.x[rows]
    x = x + random_start(x, case.near_norm, case.near_eps / 2, generator)
    x = x.clamp(width, 1 - width)
    u = torch.randint(0, 2, x.shape, generator=generator, device=x.device).to(x.dtype) * 2 - 1
    predicted = width * (slope(case, x, rows, "margin", view).gradient * u).flatten(1).sum(1)
    with case.quiet():
        ahead, behind = (logits_of(model, x + sign * width * u) for sign in (1, -1))
    y = case.y[rows]
    actual = (margin(ahead, y) - margin(behind, y)) / 2
    if not actual.any():
        return 1.0 if not predicted.any() else 0.0
    pair = torch.stack([predicted, actual]).double()
    pair = pair - pair.mean(1, keepdim=True)
    product = (pair[0] * pair[1]).sum() / pair.norm(dim=1).prod().clamp_min(1e-300)
    return product.item()
