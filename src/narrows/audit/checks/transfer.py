"""Whether images made against another network fool what attacks on the model itself could not.

    images fooled by transfer  <=  images fooled by PGD on the cross-entropy or the margin

The other network is the twin without the defence, or one that was taught the model's answers.

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420; Carlini et al. (2019), arXiv 1902.06705,
"Perform a Transferability Analysis"; Pintor et al. (2022), arXiv 2106.09947, indicator I5,
"transfer failure": what fools the stand-in and not the model says only that they differ.
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.audit._probe import by_gradient, compare, exceeds
from narrows.types import Finding

__all__ = ["transfer"]


def transfer(case: Case) -> Finding:
    """Fails where transferred images fool the model more often than its own gradient does."""
    view = "surrogate" if case.twin is None else "twin"
    attack = case.pgd(loss="margin")
    result = case.run(attack, view)
    if result is None:
        return Finding("transfer", True, "there is nothing to transfer from", examined=False)
    climbed = by_gradient(case)
    missed = compare(result.success, climbed)
    evidence = (
        f"an attack on the {view} fools it at {case.seen[attack, view]:.1%} of the images "
        f"and the model at {1 - result.robust_accuracy:.1%}; {missed:.1%} fall to it only"
    )
    passed = not exceeds(case, missed)
    remedy = "" if passed else "the gradient hides what transfers: look for the reason"
    data = {"transfer": result.robust_accuracy, "pgd": 1 - climbed.double().mean().item()}
    return Finding("transfer", passed, evidence, remedy, data)
