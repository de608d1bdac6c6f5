"""Whether an attack that may change anything fools everything.

    acc(eps = 1) = 0,  in L2 eps = sqrt(d): any image of the box can be reached

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420: "unbounded attacks do not reach 100%
success"; Pintor et al. (2022), arXiv 2106.09947, indicator I6, "unconstrained
attack failure". The limit of 5 % is ours.
"""

from __future__ import annotations

from narrows.attacks.norms import farthest
from narrows.audit._base import Case
from narrows.audit._probe import counts, share
from narrows.types import Finding

__all__ = ["unbounded"]

_LIMIT = 0.05


def unbounded(case: Case) -> Finding:
    """Fails where more than 5 % of the images withstand it."""
    eps = farthest(case.x, case.norm)
    left = ~case.plain(case.pgd(eps=eps)).success
    evidence = f"PGD leaves {share(left):.1%} at eps = {eps:g}, where it may change anything"
    passed = not counts(left, _LIMIT)
    remedy = "" if passed else "the attack fails: find out why before any number is believed"
    return Finding("unbounded", passed, evidence, remedy, {"accuracy": share(left)})
