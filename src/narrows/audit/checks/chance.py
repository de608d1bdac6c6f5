"""Whether accuracy reaches chance as the radius grows: at Linf .5 every image can be made gray.

    acc(eps) falls with eps,    acc(0.5) <= the largest share of any class

Source: Carlini et al. (2019), arXiv 1902.06705, "Perform Basic Sanity Tests"; Korshunova et al.
(2021), arXiv 2107.05712, section 3.1. In L2 the radius is .5 sqrt(d).
"""

from __future__ import annotations

from itertools import pairwise

from narrows.audit._base import Case
from narrows.audit._claim import gray_radius
from narrows.audit._probe import exceeds
from narrows.types import Finding

__all__ = ["chance"]

_SLACK = 0.05


def chance(case: Case) -> Finding:
    """Fails where PGD leaves more than chance at the gray radius, or less at a smaller one."""
    gray = gray_radius(case)
    radii = sorted({case.eps / 2, case.eps, 2 * case.eps, gray})
    curve = {
        eps: case.plain(case.pgd(eps=eps)).robust_accuracy
        for eps in radii
        if eps <= max(gray, case.eps)
    }
    share = case.y.bincount().max().item() / len(case.y)
    bound = max(share, 1 / case.classes)
    left = curve[gray]
    values = list(curve.values())
    rise = max((later - earlier for earlier, later in pairwise(values)), default=0.0)
    evidence = (
        f"PGD leaves {left:.1%} at eps = {gray:g}, where every image can be made gray and "
        f"{bound:.1%} is the most that can be left"
    )
    if exceeds(case, rise, _SLACK):
        evidence += f"; accuracy rises by {rise:.1%} as eps grows"
    passed = not exceeds(case, left - bound, _SLACK) and not exceeds(case, rise, _SLACK)
    remedy = "" if passed else "the attack fails: find out why before any number is believed"
    return Finding("chance", passed, evidence, remedy, {"curve": curve, "chance": bound})
