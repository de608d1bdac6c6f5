"""Whether the claim holds for the method, or for one lucky seed.

    max - min over seeds of the accuracy under PGD

Source: Korshunova et al. (2021), arXiv 2107.05712, section 3.2, where robust accuracy of one
method varied from seed to seed. The limit of 10 points is ours.
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.audit._guarded import Guarded
from narrows.audit._probe import share
from narrows.audit._statistics import more_often
from narrows.types import Finding

__all__ = ["seeds"]

_LIMIT = 0.1


def seeds(case: Case) -> Finding:
    """Fails where models of other seeds differ by more than 10 points, beyond sampling error."""
    if not case.siblings:
        evidence = "no models of other seeds were given"
        return Finding("seeds", True, evidence, examined=False)
    attack = case.pgd()
    kept = [~case.plain(attack).success]
    with case.restored():
        kept += [~attack(Guarded(other), case.x, case.y).success for other in case.siblings]
    accuracy = [share(images) for images in kept]
    best, worst = max(kept, key=share), min(kept, key=share)
    evidence = (
        f"accuracy under PGD is {accuracy[0]:.1%} here, {share(worst):.1%} to {share(best):.1%} "
        f"over {len(kept)} seeds"
    )
    passed = share(best) - share(worst) <= _LIMIT or not more_often(best, worst)
    remedy = "" if passed else "report all seeds, and attack the best one hardest"
    return Finding("seeds", passed, evidence, remedy, {"accuracy": accuracy})
