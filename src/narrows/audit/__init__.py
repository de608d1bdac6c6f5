"""Is a claimed robustness real? `audit(model, x, y, eps=8/255) -> Audit`."""

from narrows.audit._base import Case
from narrows.audit._budget import BUDGETS, Budget, resolve_budget
from narrows.audit.checks import CHECKS
from narrows.audit.loss_surface import LossSurface, loss_surface
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
    "LossSurface",
    "Outcome",
    "Verdict",
    "audit",
    "loss_surface",
    "resolve_budget",
]
