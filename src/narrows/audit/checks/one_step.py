"""Is one step as strong as many? Then the many went astray.

    accuracy under PGD  <=  accuracy under FGSM

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420: "one-step attacks perform better than
iterative attacks".
"""

from __future__ import annotations

from narrows.attacks import FGSM
from narrows.audit._base import Case
from narrows.audit._probe import compare, exceeds
from narrows.types import Finding

__all__ = ["one_step"]


def one_step(case: Case) -> Finding:
    """Fails where FGSM fools images that PGD does not."""
    fgsm = case.plain(
        FGSM(
            norm=case.norm,
            eps=case.eps,
            verify_draws=case.budget.verify_draws,
            seed=case.seed,
        )
    )
    pgd = case.plain(case.pgd())
    missed = compare(fgsm.success, pgd.success)
    evidence = (
        f"accuracy {fgsm.robust_accuracy:.1%} after one step, {pgd.robust_accuracy:.1%} after "
        f"{case.budget.steps}; {missed:.1%} of the images fall to the one only"
    )
    passed = not exceeds(case, missed)
    remedy = "" if passed else "the path misleads: other losses, smoothed gradients, search"
    data = {"fgsm": fgsm.robust_accuracy, "pgd": pgd.robust_accuracy}
    return Finding("one_step", passed, evidence, remedy, data)
