"""Is a claimed robustness real? `audit(model, x, y, eps=8/255) -> Audit`."""

from narrows.audit._base import BUDGETS, Budget, Case
from narrows.audit.checks import CHECKS
from narrows.audit.remedies import REMEDIES
from narrows.audit.run import Audit, audit
from narrows.audit.verdict import Outcome, Verdict

__all__ = [
    "BUDGETS",
    "CHECKS",
    "REMEDIES",
    "Audit",
    "Budget",
    "Case",
    "Outcome",
    "Verdict",
    "audit",
]
