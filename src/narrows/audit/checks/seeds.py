"""Whether the claim holds for the method, or for one lucky seed.

    max - min over seeds of the accuracy under PGD

Source: Korshunova et al. (2021), arXiv 2107.05712, section 3.2, where robust accuracy of one
method varied from seed to seed. The limit of 10 points is ours.
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.audit.views import guarded
from narrows.types import Finding

__all__ = ["seeds"]

_LIMIT = 0.1


def seeds(case: Case) -> Finding:
    """Fails where models of other seeds differ by more than 10 points."""
    if not case.siblings:
        said = "no models of other seeds were given"
        return Finding("seeds", True, said, examined=False)
    own = case.plain(case.pgd()).robust_accuracy
    others = [guarded(other) for other in case.siblings]
    found = [own, *(case.pgd()(other, case.x, case.y).robust_accuracy for other in others)]
    spread = max(found) - min(found)
    evidence = (
        f"accuracy under PGD is {own:.1%} here, {min(found):.1%} to {max(found):.1%} over "
        f"{len(found)} seeds"
    )
    passed = spread <= _LIMIT
    remedy = "" if passed else "report all seeds, and attack the best one hardest"
    return Finding("seeds", passed, evidence, remedy, {"accuracy": found})
