"""Information that passes a bottleneck: estimators with a direction, exact solutions, the knee.

An estimator is a pure function that returns an `Estimate`, or a lower and an upper one.
"""

from __future__ import annotations

from narrows.information import registry
from narrows.information.binning import bin_codes
from narrows.information.blahut_arimoto import blahut_arimoto
from narrows.information.critic import CriticConfig
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
from narrows.information.estimate import Reading, Survey, Trial, estimate
from narrows.information.gaussian_ib import GaussianIB, gaussian_bottleneck
from narrows.information.hsic import (
    cka,
    gaussian_kernel,
    hsic,
    linear_kernel,
    normalise_kernel,
)
from narrows.information.kde_information import KDEInformation, kde_information
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
from narrows.information.recorder import (
    PlanePoint,
    PlaneRecord,
    PlaneRecorder,
    load_plane,
    log_spaced,
)
from narrows.information.region import (
    PhaseTransition,
    Region,
    achievable_region,
    phase_transitions,
)
from narrows.information.registry import *  # noqa: F403
from narrows.information.renyi import renyi_entropy
from narrows.information.stacked import (
    stacked_binned_rates,
    stacked_kde_bounds,
    stacked_rates,
)

__all__ = [
    "CRITIC_BOUNDS",
    "MEASURES",
    "CriticConfig",
    "DIBSolution",
    "GaussianIB",
    "IBPoint",
    "IBSolution",
    "KDEInformation",
    "Knee",
    "LayerInformation",
    "LayerPoint",
    "Learnability",
    "NoClearKnee",
    "PhaseTransition",
    "PlanePoint",
    "PlaneRecord",
    "PlaneRecorder",
    "Reading",
    "Region",
    "SeedKnees",
    "Survey",
    "Trial",
    "achievable_region",
    "bin_codes",
    "binary_codes",
    "binary_tables",
    "binned_plane",
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
    "estimate",
    "exact_plane",
    "gaussian_bottleneck",
    "gaussian_kernel",
    "hsic",
    "infonce",
    "information_bottleneck",
    "kde_information",
    "knee",
    "knee_over_seeds",
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
    "renyi_entropy",
    "smile",
    "stacked_binned_rates",
    "stacked_kde_bounds",
    "stacked_rates",
]
# The estimators are named in their registry.
__all__ += registry.__all__
