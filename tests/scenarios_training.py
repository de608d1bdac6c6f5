"""Small learnable problems for tests of training."""

import torch
from torch import nn

from narrows.data import Dataset
from narrows.methods import Method
from narrows.models import BinaryStochasticNet, NetworkConfig, build_network


def prototypes(inputs: int = 20, classes: int = 4, n: int = 96, seed: int = 0) -> Dataset:
    """Noisy images around one random prototype a class, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(classes, inputs, generator=generator)
    y = torch.arange(n) % classes
    noise = 0.1 * torch.randn(n, inputs, generator=generator)
    return Dataset("prototypes", (centres[y] + noise).clamp(0, 1), y, classes)


def suited_network(
    kind: type[Method], config: NetworkConfig, inputs: int, classes: int
) -> nn.Module:
    """A small network that has what a method needs; its binary layers are as wide as the others."""
    if kind.latent == "binary":
        return BinaryStochasticNet(inputs, [*config.encoder, config.bottleneck], classes)
    return build_network(config, (inputs,), classes, kind.latent)
