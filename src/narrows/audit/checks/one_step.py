"""Whether an attack of many steps is at least as strong as one of a single step.

    images fooled by FGSM  <=  images fooled by PGD

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420: "one-step attacks perform better than
iterative attacks".
"""

from __future__ import annotations

from narrows.attacks import FGSM, Attack
from narrows.audit._base import Case
from narrows.audit._probe import counts, share
from narrows.audit._statistics import only_first
from narrows.types import Finding

__all__ = ["one_step"]


def one_step(case: Case) -> Finding:
    """Fails where FGSM fools images that PGD does not."""
    fgsm = case.plain(_one_step(case))
    pgd = case.plain(case.pgd())
    missed = only_first(fgsm.success, pgd.success)
    evidence = (
        f"accuracy {fgsm.robust_accuracy:.1%} after one step, {pgd.robust_accuracy:.1%} after "
        f"{case.budget.steps}; {share(missed):.1%} of the images are fooled by the one step only"
    )
    passed = not counts(missed)
    remedy = "" if passed else "try other losses, smoothed gradients and search"
    data = {"fgsm": fgsm.robust_accuracy, "pgd": pgd.robust_accuracy}
    return Finding("one_step", passed, evidence, remedy, data)


def _one_step(case: Case) -> Attack:
    """FGSM, or with L1 and L0, for which there is none, one step of PGD."""
    if case.norm in ("l1", "l0"):
        return case.pgd(steps=1)
    return FGSM(
        norm=case.norm,
        eps=case.eps,
        verify_draws=case.budget.verify_draws,
        seed=case.seed,
    )
