"""Whether gradients of single draws agree, and averaging them fools no more, where there is noise.

    cos = E <g_i, g_j> / (|g_i| |g_j|),  g_i = grad m(x) of the i-th draw

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420, "stochastic gradients" and EOT. Noise
itself is no fault: only an attack that takes one draw for the expectation is.
"""

from __future__ import annotations

import torch

from narrows.audit._base import Case
from narrows.audit._probe import correct_rows, counts, share, slope
from narrows.audit._statistics import only_first
from narrows.types import Finding

__all__ = ["noise"]

_LEAST = 0.2
_DRAWS = 8


def noise(case: Case) -> Finding:
    """Fails where draws point apart, or attacks on the mean of the noise or of draws fool more.

    Of a model that was taken for deterministic it fails where the audit saw it change its mind.
    """
    if not case.stochastic:
        return _steady(case)
    rows = correct_rows(case)
    if not len(rows):
        return Finding("noise", True, "no image is classified correctly", examined=False)
    usual = case.plain(case.pgd()).success
    margin = case.pgd(loss="margin")
    attacks = ((case.pgd(draws=case.budget.draws), "plain"), (margin, "fixed_noise"))
    results = [case.run(attack, view) for attack, view in (*attacks, (margin, "mean"))]
    more = [only_first(result.success, usual) for result in results if result is not None]
    gain, cosine = max(share(images) for images in more), _cosine(case, rows)
    evidence = (
        f"averaging over {case.budget.draws} draws, or over all noise, fools {gain:.1%} more; "
        f"gradients of two draws have a mean cosine of {cosine:.2f}"
    )
    passed = cosine >= _LEAST and not any(counts(images) for images in more)
    remedy = "" if passed else "attack the expectation: more draws a step, or the same at each"
    return Finding("noise", passed, evidence, remedy, {"cosine": cosine, "gain": gain})


def _steady(case: Case) -> Finding:
    if not counts(case.wavering):
        return Finding("noise", True, "two passes agree: the model draws no noise")
    return Finding(
        "noise",
        False,
        f"two passes agree at the images, and not at {share(case.wavering):.1%} of those that had "
        "been fooled: the model has noise or memory",
        "seed the noise from PyTorch's generator, so that it can be averaged",
    )


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
