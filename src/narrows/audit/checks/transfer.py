"""Whether images made against another network fool what attacks on the model itself could not.

    images fooled by transfer  <=  images fooled by PGD on the cross-entropy or the margin

The other network is the twin without the defence, or one that was taught the model's answers; in
either case also one that was taught nothing but its classes, since confidence may mislead.

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420; Carlini et al. (2019), arXiv 1902.06705,
"Perform a Transferability Analysis"; Pintor et al. (2022), arXiv 2106.09947, indicator I5,
"transfer failure": what fools the stand-in and not the model says only that they differ.
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.audit._probe import by_gradient, counts, share
from narrows.audit._statistics import only_first
from narrows.types import Finding

__all__ = ["transfer"]


def transfer(case: Case) -> Finding:
    """Fails where transferred images fool the model more often than its own gradient does."""
    attack = case.pgd(loss="margin")
    climbed = by_gradient(case)
    facts, passed = [], True
    data = {"pgd": share(~climbed)}
    for view in ("surrogate" if case.twin is None else "twin", "labels"):
        result = case.run(attack, view)
        if result is None:
            continue
        missed = only_first(result.success, climbed)
        facts.append(
            f"an attack on the {view} fools it at {case.seen[attack, view]:.1%} of the images and "
            f"the model at {share(result.success):.1%}; {share(missed):.1%} are fooled by it only"
        )
        passed = passed and not counts(missed)
        data[view] = result.robust_accuracy
    remedy = "" if passed else "the gradient hides what transfers: look for the reason"
    return Finding("transfer", passed, "; ".join(facts), remedy, data)
