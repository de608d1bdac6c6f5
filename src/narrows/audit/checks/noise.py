"""Whether gradients of single draws agree, and averaging them fools more, where there is noise.

    cos = E <g_i, g_j> / (|g_i| |g_j|),  g_i = grad m(x) of the i-th draw

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420, "stochastic gradients" and EOT. Noise
itself is no fault: only an attack that takes one draw for the expectation is.
"""

from __future__ import annotations

import torch

from narrows.audit._base import Case
from narrows.audit._probe import compare, exceeds, few_correct, slope
from narrows.types import Finding

__all__ = ["noise"]

_LEAST = 0.2
_DRAWS = 8


def noise(case: Case) -> Finding:
    """Fails where draws point apart, or an attack on the mean of more draws fools more images."""
    if not case.stochastic:
        return Finding("noise", True, "two passes agree: the model draws no noise")
    rows = few_correct(case)
    if not len(rows):
        return Finding("noise", True, "no image is classified correctly", examined=False)
    cosine = _cosine(case, rows)
    usual = case.plain(case.pgd())
    gain = 0.0
    for attack, view in (
        (case.pgd(draws=case.budget.draws), "plain"),
        (case.pgd(loss="margin"), "fixed_noise"),
    ):
        result = case.run(attack, view)
        if result is not None:
            gain = max(gain, compare(result.success, usual.success))
    evidence = (
        f"gradients of two draws have a mean cosine of {cosine:.2f}; averaging over "
        f"{case.budget.draws} draws fools {gain:.1%} more"
    )
    passed = cosine >= _LEAST and not exceeds(case, gain)
    remedy = "" if passed else "attack the expectation: more draws a step, or the same at each"
    return Finding("noise", passed, evidence, remedy, {"cosine": cosine, "gain": gain})


def _cosine(case: Case, rows: torch.Tensor) -> float:
    x = case.x[rows]
    # One pass a draw: noise of the weights is the same for all images of a pass.
    drawn = torch.stack(
        [
            slope(case, x, rows, "margin", seed=case.seed + draw).gradient.flatten(1).double()
            for draw in range(_DRAWS)
        ]
    )
    unit = drawn / drawn.norm(dim=2, keepdim=True).clamp_min(1e-300)
    total = unit.sum(0).square().sum(1) - unit.square().sum(2).sum(0)
    return (total / (_DRAWS * (_DRAWS - 1))).mean().item()
