"""Whether the margin changes over a distance that nobody could see.

    sum_x |m(x + n) - m(x)| / sum_x |m(x)|,   n random, of size eps / 20; any noise in m held

Source: Pintor et al. (2022), arXiv 2106.09947, indicator I2, "unstable predictions". Deviations:
the margin takes the place of the attack's loss, and a ratio of sums that of a mean of ratios, which
one image near the boundary would decide. The distance and the limit of 10 % are ours.
"""

from __future__ import annotations

import torch

from narrows.attacks.losses import margin
from narrows.attacks.norms import random_start
from narrows.audit._base import Case
from narrows.audit._probe import correct_rows
from narrows.models.outputs import logits_of
from narrows.types import Finding

__all__ = ["unstable"]

_LIMIT = 0.1
_SHARE = 20
_LOOKS = 5


def unstable(case: Case) -> Finding:
    """Fails where the margin changes by more than 10 %."""
    rows = correct_rows(case)
    if not len(rows):
        return Finding("unstable", True, "no image is classified correctly", examined=False)
    x, y, generator = case.x[rows], case.y[rows], case.generator()
    model = (case.view("fixed_noise") if case.stochastic else None) or case.subject
    with case.quiet():
        here = margin(logits_of(model, x), y)
        changes = []
        for _ in range(_LOOKS):
            step = random_start(x, case.near_norm, case.near_eps / _SHARE, generator)
            near = (x + step).clamp(0, 1)
            changes.append((margin(logits_of(model, near), y) - here).abs())
    change = (torch.stack(changes).mean(0).sum() / here.abs().sum().clamp_min(1e-30)).item()
    passed = change <= _LIMIT
    evidence = f"within eps / {_SHARE} the margin changes by {change:.1%}"
    remedy = "" if passed else "average the gradient over draws, and over points nearby"
    return Finding("unstable", passed, evidence, remedy, {"change": change})
