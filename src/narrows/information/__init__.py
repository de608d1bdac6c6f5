"""Information that passes a bottleneck: estimators with a direction, exact solutions, the knee.

An estimator is a pure function that returns an `Estimate`, or a lower and an upper one.
"""

from __future__ import annotations

from collections.abc import Callable

from narrows.information.blahut_arimoto import IBSolution, information_bottleneck
from narrows.information.curve import (
    IBPoint,
    Knee,
    NoClearKnee,
    SeedKnees,
    concave_envelope,
    knee,
    knee_over_seeds,
)
from narrows.information.kde import kde_bounds, kde_relevance
from narrows.information.variational import variational_rate, variational_relevance
from narrows.types import Estimate

__all__ = [
    "ESTIMATORS",
    "IBPoint",
    "IBSolution",
    "Knee",
    "NoClearKnee",
    "SeedKnees",
    "concave_envelope",
    "information_bottleneck",
    "kde_bounds",
    "kde_relevance",
    "knee",
    "knee_over_seeds",
    "variational_rate",
    "variational_relevance",
]

ESTIMATORS: dict[str, Callable[..., Estimate | tuple[Estimate, Estimate]]] = {
    "variational_rate": variational_rate,
    "variational_relevance": variational_relevance,
    "kde_bounds": kde_bounds,
    "kde_relevance": kde_relevance,
}
