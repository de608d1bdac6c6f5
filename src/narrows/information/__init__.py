"""Information that passes a bottleneck: estimators with a direction, exact solutions, the knee.

An estimator is a pure function that returns an `Estimate`, or a lower and an upper one.
"""

from __future__ import annotations

from collections.abc import Callable

from narrows.information.binning import bin_codes, binned_rate, binned_relevance
from narrows.information.blahut_arimoto import blahut_arimoto
from narrows.information.critic import CriticConfig, fit_critic
from narrows.information.curve import (
    IBPoint,
    Knee,
    NoClearKnee,
    SeedKnees,
    concave_envelope,
    knee,
    knee_over_seeds,
    one_error_rule,
)
from narrows.information.deterministic_ib import DIBSolution, deterministic_bottleneck
from narrows.information.discrete import (
    code_information,
    discrete_entropy,
    discrete_information,
)
from narrows.information.discrete_ib import IBSolution, information_bottleneck
from narrows.information.enumeration import (
    LayerInformation,
    binary_codes,
    binary_tables,
    bit_table,
    chain_information,
)
from narrows.information.gaussian_ib import GaussianIB, gaussian_bottleneck
from narrows.information.hsic import (
    cka,
    gaussian_kernel,
    hsic,
    linear_kernel,
    normalise_kernel,
)
from narrows.information.kde import kde_bounds, kde_relevance
from narrows.information.ksg import ksg, ksg_relevance
from narrows.information.learnability import Learnability, learnability
from narrows.information.neural import (
    CRITIC_BOUNDS,
    critic_bound,
    donsker_varadhan,
    infonce,
    nwj,
    smile,
)
from narrows.information.plane import (
    MEASURES,
    LayerPoint,
    binned_plane,
    exact_plane,
    pairwise_plane,
    plane_layers,
)
from narrows.information.posterior import posterior_information
from narrows.information.recorder import PlaneRecorder, load_plane, log_spaced
from narrows.information.region import (
    PhaseTransition,
    Region,
    achievable_region,
    phase_transitions,
)
from narrows.information.renyi import renyi_entropy, renyi_information
from narrows.information.stacked import (
    stacked_binned_rates,
    stacked_kde_bounds,
    stacked_rates,
)
from narrows.information.variational import variational_rate, variational_relevance
from narrows.types import Estimate

__all__ = [
    "CRITIC_BOUNDS",
    "ESTIMATORS",
    "MEASURES",
    "CriticConfig",
    "DIBSolution",
    "GaussianIB",
    "IBPoint",
    "IBSolution",
    "Knee",
    "LayerInformation",
    "LayerPoint",
    "Learnability",
    "NoClearKnee",
    "PhaseTransition",
    "PlaneRecorder",
    "Region",
    "SeedKnees",
    "achievable_region",
    "bin_codes",
    "binary_codes",
    "binary_tables",
    "binned_plane",
    "binned_rate",
    "binned_relevance",
    "bit_table",
    "blahut_arimoto",
    "chain_information",
    "cka",
    "code_information",
    "concave_envelope",
    "critic_bound",
    "deterministic_bottleneck",
    "discrete_entropy",
    "discrete_information",
    "donsker_varadhan",
    "exact_plane",
    "fit_critic",
    "gaussian_bottleneck",
    "gaussian_kernel",
    "hsic",
    "infonce",
    "information_bottleneck",
    "kde_bounds",
    "kde_relevance",
    "knee",
    "knee_over_seeds",
    "ksg",
    "ksg_relevance",
    "learnability",
    "linear_kernel",
    "load_plane",
    "log_spaced",
    "normalise_kernel",
    "nwj",
    "one_error_rule",
    "pairwise_plane",
    "phase_transitions",
    "plane_layers",
    "posterior_information",
    "renyi_entropy",
    "renyi_information",
    "smile",
    "stacked_binned_rates",
    "stacked_kde_bounds",
    "stacked_rates",
    "variational_rate",
    "variational_relevance",
]

ESTIMATORS: dict[str, Callable[..., Estimate | tuple[Estimate, Estimate]]] = {
    "variational_rate": variational_rate,
    "variational_relevance": variational_relevance,
    "kde_bounds": kde_bounds,
    "kde_relevance": kde_relevance,
    "binned_rate": binned_rate,
    "binned_relevance": binned_relevance,
    "renyi_information": renyi_information,
    "ksg": ksg,
    "ksg_relevance": ksg_relevance,
}
