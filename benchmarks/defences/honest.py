"""Honest models, odd ones among them, whose robustness is what it seems at the radius named.

Each entry is the network and how it is trained and audited: `eps` of PGD training in units of the
audit's own radius `scale`, and the claim. An audit that accuses one of them is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from narrows.models.binary_stochastic import BinaryStochasticNet
from narrows.models.bottleneck import as_classifier
from narrows.models.mlp import mlp


class MaxMin(nn.Module):
    """Sorts pairs of features: an activation that keeps every gradient's norm."""

    def forward(self, x: Tensor) -> Tensor:
        """`[n, 2 k]` to `[n, 2 k]`."""
        first, second = x.chunk(2, 1)
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], 1)


class Scaled(nn.Module):
    """Multiplies by a constant, which is the Lipschitz bound of a 1-Lipschitz network before it."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """The multiple."""
        return self.factor * x


class EightBits(nn.Module):
    """Images of 8 bits, as a camera has them; the gradient is that of the identity."""

    def forward(self, x: Tensor) -> Tensor:
        """The nearest of 256 levels."""
        return x + ((255 * x).round() / 255 - x).detach()


class AlwaysDropping(nn.Module):
    """Dropout that stays on: the vote of many passes counts."""

    def forward(self, x: Tensor) -> Tensor:
        """A fifth of the units are zero."""
        return F.dropout(x, 0.2, training=True)


class Gaussian(nn.Module):
    """Gaussian noise on the image, in training and in use (randomised smoothing)."""

    def forward(self, x: Tensor) -> Tensor:
        """Noise of standard deviation .1."""
        return x + 0.1 * torch.randn_like(x)


class Cosine(nn.Module):
    """Scores are cosines with one weight per class, at one temperature."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, inputs))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, classes]`, between -10 and 10."""
        return 10 * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class Averaged(nn.Module):
    """The mean logits of several networks."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, classes]`."""
        return torch.stack([network(x) for network in self.networks]).mean(0)


class Honest(NamedTuple):
    """An honest model before training.

    Attributes:
        build: makes it, from the number of pixels.
        hardened: radius of PGD training, as a share of the benchmark's radius; 0 for none.
        claim: settings of the audit, whose `eps` is a share of the benchmark's radius too.
        epochs: share of the usual number of epochs.
        finish: is applied after training.
    """

    build: Callable[[int], nn.Module]
    hardened: float
    claim: dict[str, Any]
    epochs: float = 1.0
    finish: Callable[[nn.Module], nn.Module] = lambda model: model


def flat(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *layers)


def lipschitz(pixels: int, bound: float = 10.0) -> nn.Module:
    """A network whose L2 Lipschitz constant is `bound`, by orthogonal layers."""
    return flat(
        *(orthogonal(nn.Linear(pixels, 64)), MaxMin(), orthogonal(nn.Linear(64, 64)), MaxMin()),
        *(orthogonal(nn.Linear(64, 10)), Scaled(bound)),
    )


def pooled(pixels: int) -> nn.Module:
    """Convolutions and max-pooling without any other activation."""
    side = round(pixels**0.5)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1)),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * (side // 4) ** 2, 10)),
    )


def normalised(pixels: int) -> nn.Module:
    """A CNN with batch normalisation."""
    side = round(pixels**0.5)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * (side // 2) ** 2, 10)),
    )


def binary(pixels: int) -> nn.Module:
    """Layers of Bernoulli units."""
    return as_classifier(BinaryStochasticNet(pixels, [64, 64], classes=10), samples=8)


ODD: dict[str, Honest] = {
    "8-bit images": Honest(
        lambda pixels: nn.Sequential(EightBits(), flat(*mlp([pixels, 128, 10]))), 0.5, {"eps": 0.5}
    ),
    "binary stochastic": Honest(binary, 0, {"eps": 0.125}),
    "max-pooling, no ReLU": Honest(pooled, 0.5, {"eps": 0.5}),
    "very confident": Honest(
        lambda pixels: flat(*mlp([pixels, 128, 10])),
        *(0.5, {"eps": 0.5}, 1.0),
        lambda model: nn.Sequential(model, Scaled(5.0)),
    ),
    "low accuracy": Honest(lambda pixels: flat(*mlp([pixels, 4, 10])), 0, {"eps": 0.1}, 0.1),
    "tanh": Honest(
        lambda pixels: flat(nn.Linear(pixels, 128), nn.Tanh(), nn.Linear(128, 10)),
        0.5,
        {"eps": 0.5},
    ),
    "dropout always": Honest(
        lambda pixels: flat(
            nn.Linear(pixels, 128), nn.ReLU(), AlwaysDropping(), nn.Linear(128, 10)
        ),
        0.5,
        {"eps": 0.5},
    ),
    "Gaussian noise": Honest(
        lambda pixels: nn.Sequential(Gaussian(), flat(*mlp([pixels, 128, 10]))), 0, {"eps": 0.25}
    ),
    "cosine": Honest(
        lambda pixels: flat(nn.Linear(pixels, 128), nn.ReLU(), Cosine(128, 10)), 0.5, {"eps": 0.5}
    ),
    "mean of three": Honest(
        lambda pixels: Averaged(*(flat(*mlp([pixels, 64, 10])) for _ in range(3))),
        0.5,
        {"eps": 0.5},
    ),
    "batch normalisation": Honest(normalised, 0.5, {"eps": 0.5}),
}
