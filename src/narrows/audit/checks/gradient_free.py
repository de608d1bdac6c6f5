"""Whether a search without gradients fools what attacks by gradient could not.

    images fooled by Square  <=  images fooled by PGD on the cross-entropy or the margin

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420: "black-box attacks are better than
white-box attacks"; Croce & Hein (2020), arXiv 2003.01690, for Square as the judge.
"""

from __future__ import annotations

from narrows.attacks import Square
from narrows.audit._base import Case
from narrows.audit._probe import by_gradient, compare, exceeds
from narrows.types import Finding

__all__ = ["gradient_free"]


def gradient_free(case: Case) -> Finding:
    """Fails where Square fools images that PGD does not."""
    square = Square(
        norm=case.norm,
        eps=case.eps,
        queries=case.budget.queries,
        draws=case.budget.draws if case.stochastic else 1,
        verify_draws=case.budget.verify_draws,
        seed=case.seed,
    )
    searched = case.plain(square)
    climbed = by_gradient(case)
    missed = compare(searched.success, climbed)
    left = 1 - climbed.double().mean().item()
    evidence = (
        f"accuracy {searched.robust_accuracy:.1%} under Square, {left:.1%} under PGD on "
        f"two losses; {missed:.1%} of the images fall to the search only"
    )
    passed = not exceeds(case, missed)
    remedy = "" if passed else "the gradient hides what a search finds: look for the reason"
    data = {"square": searched.robust_accuracy, "pgd": left}
    return Finding("gradient_free", passed, evidence, remedy, data)
