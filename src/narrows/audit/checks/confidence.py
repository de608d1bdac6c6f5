"""Whether the model grows less sure on the way from an image to one of another class.

    m(x + t (x' - x)) at t = 1/2, 3/4 and 9/10 of the way to the first point of another class

The margin of a model whose score means something falls on that way, to zero at its end. Where it
stays or rises, whatever climbs the score is led astray, even along its true gradient.

Source: the check is ours; Carlini (2019), arXiv 1902.02322, and Tramer et al. (2020), arXiv
2002.08347, on defences whose confidence misleads. The limits are ours: a linear margin is at 28 %
of its first value on average at these three points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.attacks.losses import margin
from narrows.attacks.norms import per_image
from narrows.audit._base import Case
from narrows.audit._probe import correct_rows, counts, share
from narrows.models.outputs import logits_of
from narrows.types import Finding

__all__ = ["confidence"]

_LEFT = 0.8  # of the margin, that may be left on average
_LIMIT = 0.2  # of the images, at which more may be left
_POINTS = 20
_BISECTIONS = 6
_WAYS = (0.5, 0.75, 0.9)


def confidence(case: Case) -> Finding:
    """Fails where the margin does not fall at more than 20 % of the images."""
    rows = correct_rows(case)
    classes = case.logits.argmax(1)
    if len(classes[rows].unique()) < 2:
        evidence = "no two images are classified correctly as two classes"
        return Finding("confidence", True, evidence, examined=False)
    model = (case.view("fixed_noise") if case.stochastic else None) or case.subject
    x, y = case.x[rows], case.y[rows]
    with case.quiet():
        goal = x[_nearest(x, y)]
        end = _first_change(model, x, goal, y)
        ahead = -margin(logits_of(model, x), y)
        late = torch.stack(
            [-margin(logits_of(model, _between(x, goal, way * end)), y) for way in _WAYS]
        )
    kept = late.mean(0) >= _LEFT * ahead
    evidence = (
        f"on the way to the nearest image of another class the margin does not fall at "
        f"{share(kept):.1%} of {len(rows)} images"
    )
    passed = not counts(kept, _LIMIT)
    remedy = "" if passed else "attack with labels only, and by transfer: the score misleads"
    return Finding("confidence", passed, evidence, remedy, {"kept": share(kept)})


def _nearest(x: Tensor, y: Tensor) -> Tensor:
    """Number of the nearest image of another class."""
    apart = torch.cdist(x.flatten(1), x.flatten(1))
    return apart.masked_fill(y[:, None] == y, torch.inf).argmin(1)


def _between(x: Tensor, goal: Tensor, t: Tensor) -> Tensor:
    return x + per_image(t, x) * (goal - x)


def _first_change(model: torch.nn.Module, x: Tensor, goal: Tensor, y: Tensor) -> Tensor:
    """`[n]`, the share of the way at which the class first changes; just before it."""
    high = torch.ones_like(x.flatten(1)[:, 0])
    for point in torch.linspace(1, 0, _POINTS + 1)[1:-1]:
        wrong = logits_of(model, _between(x, goal, point.expand(len(x)).to(x))).argmax(1) != y
        high = torch.where(wrong, point.to(x), high)
    low = (high - 1 / _POINTS).clamp_min(0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        wrong = logits_of(model, _between(x, goal, middle)).argmax(1) != y
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
    return low
