"""Networks: `Bottleneck(encoder, decoder)`, `tap(module, layers)`, and those of the papers."""

from narrows.models.adapted import adapt
from narrows.models.binary_stochastic import BinaryStochasticNet
from narrows.models.bottleneck import Bottleneck, as_classifier, latent_mode
from narrows.models.inserted import insert_bottleneck
from narrows.models.networks import NETWORKS, NetworkConfig, build_network
from narrows.models.tap import tap

__all__ = [
    "NETWORKS",
    "BinaryStochasticNet",
    "Bottleneck",
    "NetworkConfig",
    "adapt",
    "as_classifier",
    "build_network",
    "insert_bottleneck",
    "latent_mode",
    "tap",
]
