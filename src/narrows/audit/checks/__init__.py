"""The checks of an audit: `check(case) -> Finding`, one file each, from cheap to dear."""

from __future__ import annotations

from collections.abc import Callable

from narrows.audit._base import Case
from narrows.audit.checks.batch import batch
from narrows.audit.checks.chance import chance
from narrows.audit.checks.confidence import confidence
from narrows.audit.checks.convergence import convergence
from narrows.audit.checks.dead_units import dead_units
from narrows.audit.checks.differentiable import differentiable
from narrows.audit.checks.finite import finite
from narrows.audit.checks.gradient_free import gradient_free
from narrows.audit.checks.gradients import gradients
from narrows.audit.checks.linearity import linearity
from narrows.audit.checks.noise import noise
from narrows.audit.checks.one_step import one_step
from narrows.audit.checks.probabilities import probabilities
from narrows.audit.checks.saturation import saturation
from narrows.audit.checks.seeds import seeds
from narrows.audit.checks.silent_success import silent_success
from narrows.audit.checks.state import state
from narrows.audit.checks.transfer import transfer
from narrows.audit.checks.unbounded import unbounded
from narrows.audit.checks.unstable import unstable
from narrows.types import Finding

__all__ = ["CHECKS", "Check"]

Check = Callable[[Case], Finding]

CHECKS: dict[str, Check] = {
    "probabilities": probabilities,
    "batch": batch,
    "gradients": gradients,
    "differentiable": differentiable,
    "dead_units": dead_units,
    "linearity": linearity,
    "unstable": unstable,
    "confidence": confidence,
    "silent_success": silent_success,
    "one_step": one_step,
    "saturation": saturation,
    "noise": noise,
    "convergence": convergence,
    "chance": chance,
    "unbounded": unbounded,
    "seeds": seeds,
    "gradient_free": gradient_free,
    "transfer": transfer,
    # These two say what was seen until now, and are asked again at the end.
    "finite": finite,
    "state": state,
}
