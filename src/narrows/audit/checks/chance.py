"""Whether accuracy reaches chance as the radius grows: at Linf .5 every image can be made gray.

    acc(eps) falls with eps,    acc(0.5) <= the largest share of any class

Source: Carlini et al. (2019), arXiv 1902.06705, "Perform Basic Sanity Tests"; Korshunova et al.
(2021), arXiv 2107.05712, section 3.1. In L2 the radius is .5 sqrt(d).
"""

from __future__ import annotations

from itertools import pairwise

from narrows.audit._base import Case
from narrows.audit._claim import gray_radius
from narrows.audit._probe import counts, share
from narrows.audit._statistics import only_first
from narrows.types import Finding

__all__ = ["chance"]

_SLACK = 0.05


def chance(case: Case) -> Finding:
    """Fails where PGD leaves more than chance at the gray radius, or less at a smaller one."""
    gray = gray_radius(case)
    half = case.eps / 2 if case.norm != "l0" else max(1, case.eps // 2)
    radii = sorted({half, case.eps, 2 * case.eps, gray})
    success = {
        eps: case.plain(case.pgd(eps=eps)).success for eps in radii if eps <= max(gray, case.eps)
    }
    curve = {eps: share(~fooled) for eps, fooled in success.items()}
    largest = case.y.bincount().max().item() / len(case.y)
    bound = max(largest, 1 / case.classes)
    evidence = (
        f"PGD leaves {curve[gray]:.1%} at eps = {gray:g}, where every image can be made gray and "
        f"{bound:.1%} is the most that can be left"
    )
    passed = not counts(~success[gray], min(1.0, bound + _SLACK))
    for (eps, near), (wider, far) in pairwise(success.items()):
        lost = only_first(near, far)
        if counts(lost, _SLACK):
            passed = False
            evidence += f"; {share(lost):.1%} are fooled at eps = {eps:g} and not at {wider:g}"
    remedy = "" if passed else "the attack fails: find out why before any number is believed"
    return Finding("chance", passed, evidence, remedy, {"curve": curve, "chance": bound})
