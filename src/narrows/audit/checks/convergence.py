"""Whether accuracy still falls with more steps and more restarts.

    acc(4 T steps) = acc(T),    acc(R restarts) = acc(1)

Source: Carlini et al. (2019), arXiv 1902.06705, "Verify Attack Convergence", who double the steps;
Korshunova et al. (2021), arXiv 2107.05712, Figs. 2 and 8; Pintor et al. (2022), arXiv 2106.09947,
indicator I4, "incomplete optimisation", which looks at the loss where this looks at what it is for.
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.audit._probe import counts, share
from narrows.audit._statistics import only_first
from narrows.types import Finding

__all__ = ["convergence"]

_MORE = 4


def convergence(case: Case) -> Finding:
    """Fails where four times the steps, or the budget's restarts, fool more images."""
    steps, restarts = case.budget.steps, max(2, case.budget.restarts)
    usual = case.plain(case.pgd()).success
    curve = {
        count: case.plain(case.pgd(steps=count)).robust_accuracy
        for count in (max(1, steps // _MORE), steps, _MORE * steps)
    }
    longer = only_first(case.plain(case.pgd(steps=_MORE * steps)).success, usual)
    restarted = only_first(case.plain(case.pgd(restarts=restarts)).success, usual)
    evidence = (
        f"{_MORE * steps} steps for {steps} fool {share(longer):.1%} more, "
        f"{restarts} restarts for 1 {share(restarted):.1%} more"
    )
    passed = not (counts(longer) or counts(restarted))
    remedy = "" if passed else "raise steps and restarts until nothing changes"
    return Finding("convergence", passed, evidence, remedy, {"steps": curve})
