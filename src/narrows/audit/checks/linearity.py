"""Whether a step along the gradient raises the margin by what the gradient promises.

    median over images of  (m(x + d) - m(x)) / (d . grad m(x)),   d = the steepest step of eps / 4

Near 1 for a model that is smooth at this scale; near 0 where the gradient is that of a ripple; far
above 1, or undefined, where it is much smaller than the function's slope.

Source: Qin et al. (2019), arXiv 1907.02610, who bound the difference of the two. The
limits are ours.
"""

from __future__ import annotations

from narrows.attacks.losses import margin
from narrows.attacks.norms import steepest
from narrows.audit._base import Case
from narrows.audit._probe import correct_rows, slope
from narrows.models.outputs import logits_of
from narrows.types import Finding

__all__ = ["linearity"]

_LOW, _HIGH = 0.2, 5.0
_SHARE = 4


def linearity(case: Case) -> Finding:
    """Fails where the median ratio lies outside [0.2, 5], or half the gradients promise nothing."""
    rows = correct_rows(case)
    if not len(rows):
        return Finding("linearity", True, "no image is classified correctly", examined=False)
    view = "fixed_noise" if case.stochastic else "plain"
    x = case.x[rows]
    value, gradient, _ = slope(case, x, rows, "margin", view)
    step = case.near_eps / _SHARE * steepest(gradient.to(x.dtype), case.near_norm)
    step = (x + step).clamp(0, 1) - x
    predicted = (step * gradient).flatten(1).sum(1).double()
    with case.quiet():
        reached = margin(logits_of(case.view(view) or case.subject, x + step), case.y[rows])
    actual = (reached - value).double()
    promising = predicted > 0
    data = {"predicted": predicted.tolist(), "actual": actual.tolist()}
    remedy = "the gradient misleads: attack by finite differences, search and transfer"
    if promising.double().mean() < 0.5:
        evidence = (
            f"the gradient promises nothing at {(~promising).double().mean():.0%} of the images"
        )
        return Finding("linearity", False, evidence, remedy, data)
    ratio = (actual[promising] / predicted[promising]).median().item()
    passed = _LOW <= ratio <= _HIGH
    evidence = f"a step of eps / {_SHARE} changes the margin by {ratio:.2g} of what is promised"
    return Finding("linearity", passed, evidence, "" if passed else remedy, data)
