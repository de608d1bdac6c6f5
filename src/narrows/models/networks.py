"""The networks of the papers, by name and as data.

| network | encoder - z - decoder                                   | source                      |
|---------|---------------------------------------------------------|-----------------------------|
| mlp     | widths of the configuration                             | VIB, AIB, the toy problems  |
| cnn     | conv 3x3x32, conv 3x3x64, max-pool 2 - z - widths        | AIB's Fashion-MNIST network |

The decoder of a bottleneck ends in the logits. `decoder=[]` makes it one linear layer, as in VIB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

from torch import nn

from narrows.errors import ConfigError, unknown_name
from narrows.models.bottleneck import Bottleneck
from narrows.models.gaussian import LatentKind, code_width
from narrows.models.mlp import Normalise, mlp

__all__ = ["NETWORKS", "NetworkConfig", "build_network"]


@dataclass(frozen=True)
class NetworkConfig:
    """A bottleneck network.

    Args:
        name: `"mlp"` or `"cnn"`.
        encoder: hidden widths of the encoder (for `cnn`: channels of the convolutions).
        bottleneck: K, the number of units of z.
        decoder: hidden widths of the decoder.
        normalise: whether the model maps its input from [0, 1] to [-1, 1] first.
        latent: the kind of latent, as in `Bottleneck`; `None` for the one that the method asks for.
    """

    name: str = "mlp"
    encoder: list[int] = field(default_factory=lambda: [128, 128])
    bottleneck: int = 10
    decoder: list[int] = field(default_factory=lambda: [128])
    normalise: bool = True
    latent: LatentKind | None = None

    def __post_init__(self) -> None:
        if self.name not in NETWORKS:
            raise unknown_name("network", self.name, NETWORKS)
        if self.latent not in (None, *get_args(LatentKind)):
            raise unknown_name("latent", str(self.latent), get_args(LatentKind))
        if self.bottleneck < 1 or min([1, *self.encoder, *self.decoder]) < 1:
            raise ConfigError(f"all widths of a network must be positive, got {self}")


def _mlp_encoder(shape: Sequence[int], hidden: Sequence[int], out: int) -> list[nn.Module]:
    return [nn.Flatten(), *mlp([math.prod(shape), *hidden, out])]


def _cnn_encoder(shape: Sequence[int], channels: Sequence[int], out: int) -> list[nn.Module]:
    if len(shape) != 3:
        raise ConfigError(
            f"a cnn needs images [channels, height, width], got inputs {tuple(shape)}"
        )
    if not channels:
        raise ConfigError("a cnn needs the channels of at least one convolution, got encoder=[]")
    layers: list[nn.Module] = []
    for wide, narrow in zip([shape[0], *channels[:-1]], channels, strict=True):
        layers += [nn.Conv2d(wide, narrow, 3), nn.ReLU()]
    height, width = ((side - 2 * len(channels)) // 2 for side in shape[1:])
    if height < 1 or width < 1:
        raise ConfigError(
            f"images of {shape[1]}x{shape[2]} are too small for {len(channels)} convolutions of "
            f"3x3 and a pooling of 2; at least {2 * len(channels) + 2} a side"
        )
    flat = channels[-1] * height * width
    return [*layers, nn.MaxPool2d(2), nn.Flatten(), *mlp([flat, out])]


NETWORKS = {"mlp": _mlp_encoder, "cnn": _cnn_encoder}


def build_network(
    config: NetworkConfig, shape: Sequence[int], classes: int, latent: LatentKind
) -> Bottleneck:
    """Build the bottleneck network for inputs of `shape`; its latent is `latent` by default."""
    latent = config.latent or latent
    code = code_width(latent, config.bottleneck)
    layers = NETWORKS[config.name](shape, config.encoder, code)
    if config.normalise:
        layers.insert(0, Normalise())
    decoder = mlp([config.bottleneck, *config.decoder, classes])
    return Bottleneck(nn.Sequential(*layers), decoder, latent=latent)
