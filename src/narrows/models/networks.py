"""The networks of the papers, by name and as data.

| network         | encoder - z - decoder                | source                     |
|-----------------|--------------------------------------|----------------------------|
| mlp             | widths of the configuration          | VIB, AIB, the toy problems |
| cnn             | two convolutions - z - 128           | AIB on Fashion-MNIST       |
| lenet           | two convolutions - z - 1024          | HBaR and Madry on MNIST    |
| carlini         | four convolutions - z - 200, 200     | Carlini & Wagner, TRADES   |
| vgg16           | VGG16, widths - z - widths           | IB-RAR                     |
| resnet18        | ResNet-18, widths - z - widths       | HBaR, IB-RAR               |
| preact_resnet18 | PreActResNet-18, widths - z - widths | VIB and CEB on CIFAR-10    |
| wide_resnet     | WRN-depth-width, widths - z - widths | IB-RAR                     |
| binary          | layers of Bernoulli units, z the last | IMB, SFNN                 |

The decoder of a bottleneck ends in the logits. `decoder=[]` makes it one linear layer, as in VIB.
`bottleneck=0` leaves z out: a plain classifier, whose layers have their own names (`block5`, `fc1`
of VGG16). In a bottleneck they are layers of the encoder: `encoder.block5`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import get_args

from torch import nn

from narrows.checks import check_number
from narrows.errors import ConfigError, unknown_name
from narrows.models.binary_stochastic import BinaryStochasticNet
from narrows.models.bottleneck import Bottleneck, LatentActivation, check_activation
from narrows.models.cnn import SMALL, small_cnn
from narrows.models.convolution import NormKind, Stem, input_map
from narrows.models.gaussian import LatentKind, NetworkLatent, code_width
from narrows.models.mlp import Normalise, mlp
from narrows.models.preact_resnet import PreActResNet
from narrows.models.resnet import ResNet18
from narrows.models.user_network import (
    absolute_function,
    build_user_network,
    short_function,
)
from narrows.models.vgg import VGG16
from narrows.models.wide_resnet import wide_resnet
from narrows.user_code import UserFunction, is_user_function

__all__ = ["NETWORKS", "NetworkConfig", "build_network"]

# (encoder, decoder) where a configuration gives none; empty for networks that are not listed.
_WIDTHS = {
    "mlp": ([128, 128], [128]),
    "cnn": ([32, 64], [128]),
    "lenet": ([32, 64], [1024]),
    "carlini": ([32, 64], [200, 200]),
    "binary": ([512, 512], []),
}

_WIDEST = 10**9  # beyond any memory


_OF_OWN = ("name", "bottleneck", "latent", "at", "source")


@dataclass(frozen=True)
class NetworkConfig:
    """A network, with a bottleneck or without.

    Args:
        name: one of `NETWORKS`, `"binary"`, or `file.py:function` of your own; see
            `narrows.models.user_network`. Of the settings below, such a network has `bottleneck`,
            `latent` and `at`.
        encoder: hidden widths before z (`cnn`, `lenet`, `carlini`: channels of the convolutions;
            `binary`: widths of its layers); `None` for the network's own.
        bottleneck: K, the number of units of z; 0 for a plain classifier. The z of `binary` is its
            last layer, so this is set to that layer's width.
        decoder: hidden widths after z, or of a plain classifier's head; `None` for the network's
            own.
        normalise: whether the model maps its input from [0, 1] to [-1, 1] first.
        latent: the kind of latent, as in `Bottleneck`; `None` for the kind of the method.
        norm: normalisation of vgg16 and the ResNets: `"batch"`, `"group"` or `"none"`.
        stem: of resnet18 (its first layers) and vgg16 (its dense ones), `"cifar"` or `"imagenet"`.
        depth: of wide_resnet, 6 n + 4.
        width: of wide_resnet, its factor on the channels.
        dropout: in the dense layers of vgg16 and in the blocks of wide_resnet.
        channel_share: of vgg16, resnet18 and preact_resnet18, the share of their published
            channels, as in 0.0625 for cheap runs.
        fc_norm: whether vgg16 has batch normalisation in its dense layers.
        latent_activation: `"relu"` rectifies a deterministic latent, `"none"` leaves it as it is.
        at: of a network of your own, the layer after which a latent of `bottleneck` units is
            inserted; empty for none.
        source: of a network of your own, SHA-256 of its file; filled in.
    """

    name: str = "mlp"
    encoder: list[int] | None = None
    bottleneck: int = 10
    decoder: list[int] | None = None
    normalise: bool = True
    latent: LatentKind | None = None
    norm: NormKind = "batch"
    stem: Stem = "cifar"
    depth: int = 28
    width: int = 10
    dropout: float = 0.0
    channel_share: float = 1.0
    fc_norm: bool = False
    latent_activation: LatentActivation = "none"
    at: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if self.is_own:
            self._fill_in_own()
        for key, value, valid in (
            ("network", self.name, [*NETWORKS, "binary", *([self.name] if self.is_own else [])]),
            ("latent", self.latent, [None, *get_args(LatentKind)]),
            ("network.norm", self.norm, get_args(NormKind)),
            ("network.stem", self.stem, get_args(Stem)),
        ):
            if value not in valid:
                raise unknown_name(key, str(value), [name for name in valid if name])
        self._fill_in()
        widths = [max(1, self.bottleneck), *self.hidden]
        if self.bottleneck < 0 or min(widths) < 1 or max(widths) > _WIDEST:
            raise ConfigError(
                f"all widths of a network must lie in 1..{_WIDEST:,} (bottleneck may be 0, for "
                f"none), got {self}"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"network.dropout must lie in [0, 1), got {self.dropout}")
        check_activation(self.latent_activation, self.latent)
        check_number(self.channel_share, "network.channel_share", above=0)
        self._check_owners()

    def _check_owners(self) -> None:
        """Refuse settings that the network of that name does not have."""
        if not self.is_own and (self.at or self.source):
            raise ConfigError(
                f"network.at and network.source are settings of a network of your own, and the "
                f"network is {self.name}; leave them out"
            )
        for key, value, default, owners in (
            ("channel_share", self.channel_share, 1, ("vgg16", "resnet18", "preact_resnet18")),
            ("fc_norm", self.fc_norm, False, ("vgg16",)),
        ):
            if value != default and self.name not in owners:
                raise ConfigError(
                    f"network.{key} is a setting of {', '.join(owners)}, and the network is "
                    f"{self.name}; leave it out"
                )

    def _fill_in_own(self) -> None:
        for key, default in vars(NetworkConfig()).items():
            if key not in _OF_OWN and getattr(self, key) not in (default, None, []):
                raise ConfigError(
                    f"network.{key} is a setting of the networks of this library; let "
                    f"{short_function(self.name)} build its network so"
                )
        if not self.source:
            source = UserFunction.parse(self.name, "network.name").source
            object.__setattr__(self, "source", source)

    @property
    def is_own(self) -> bool:
        """Whether it is a network of the user's own."""
        return is_user_function(self.name)

    def absolute(self) -> NetworkConfig:
        """The same, with a file of the user's own named from anywhere."""
        return replace(self, name=absolute_function(self.name)) if self.is_own else self

    def short(self) -> NetworkConfig:
        """The same, with a file of the user's own named without its folder."""
        return replace(self, name=short_function(self.name)) if self.is_own else self

    def _fill_in(self) -> None:
        """Fill in default widths, so that they are stored and hashed."""
        for name, widths in zip(
            ("encoder", "decoder"), _WIDTHS.get(self.name, ([], [])), strict=True
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, list(widths))
        if self.name == "binary" and self.encoder:
            object.__setattr__(self, "bottleneck", self.encoder[-1])

    @property
    def hidden(self) -> list[int]:
        """Widths of the encoder, then of the decoder."""
        return [*(self.encoder or []), *(self.decoder or [])]


Layers = Callable[[NetworkConfig, Sequence[int], int], list[nn.Module]]


def _mlp(config: NetworkConfig, shape: Sequence[int], out: int) -> list[nn.Module]:
    return [*_first(config), nn.Flatten(), *mlp([math.prod(shape), out])]


def _small(config: NetworkConfig, shape: Sequence[int], out: int) -> list[nn.Module]:
    layers, flat = small_cnn(config.name, shape, config.encoder or [])
    return [*_first(config), *layers, *mlp([flat, out])]


def _first(config: NetworkConfig) -> list[nn.Module]:
    return [Normalise()] if config.normalise else []


def _vgg16(config: NetworkConfig, shape: Sequence[int], out: int) -> list[nn.Module]:
    net = VGG16(
        shape,
        out,
        norm=config.norm,
        stem=config.stem,
        dropout=config.dropout,
        normalise=config.normalise,
        width=config.channel_share,
        fc_norm=config.fc_norm,
    )
    return [net]


def _resnet18(config: NetworkConfig, shape: Sequence[int], out: int) -> list[nn.Module]:
    net = ResNet18(
        shape,
        out,
        norm=config.norm,
        stem=config.stem,
        normalise=config.normalise,
        width=config.channel_share,
    )
    return [net]


def _preact_resnet18(config: NetworkConfig, shape: Sequence[int], out: int) -> list[nn.Module]:
    width, normalise = config.channel_share, config.normalise
    return [PreActResNet(shape, out, norm=config.norm, normalise=normalise, width=width)]


def _wide_resnet(config: NetworkConfig, shape: Sequence[int], out: int) -> list[nn.Module]:
    net = wide_resnet(
        shape,
        out,
        depth=config.depth,
        width=config.width,
        norm=config.norm,
        dropout=config.dropout,
        normalise=config.normalise,
    )
    return [net]


# Each returns the layers from an input to `out` numbers, the last of them linear. The keys are
# spelt out, because `narrows.registry` reads them from the source for the help texts.
NETWORKS: dict[str, Layers] = {
    "mlp": _mlp,
    "cnn": _small,
    "lenet": _small,
    "carlini": _small,
    "vgg16": _vgg16,
    "resnet18": _resnet18,
    "preact_resnet18": _preact_resnet18,
    "wide_resnet": _wide_resnet,
}


def build_network(
    config: NetworkConfig,
    shape: Sequence[int],
    classes: int,
    latent: NetworkLatent = "deterministic",
) -> nn.Module:
    """Build the network for inputs of `shape`: with a latent a `Bottleneck`, else a classifier.

    Args:
        config: the network.
        shape: of one input.
        classes: number of classes.
        latent: the kind that the method trains, used unless the configuration names one;
            `"binary"` where the method needs binary stochastic layers.

    Raises:
        ConfigError: for inputs that the network cannot take, for a kind of latent that it does not
            have, and for a file of your own that is missing, has changed or fails.

    Example:
        >>> config = NetworkConfig("cnn", bottleneck=32)
        >>> build_network(config, (1, 28, 28), 10, "gaussian").decoder[0]
        Linear(in_features=32, out_features=128, bias=True)
    """
    latent = config.latent or latent
    if config.is_own:
        at, width = config.at, config.bottleneck
        return build_user_network(config.name, config.source, shape, classes, latent, at, width)
    _check_latent(config, latent)
    encoder, decoder = config.encoder or [], config.decoder or []
    if config.name == "binary" and latent == "deterministic":
        return _sigmoid_twin(config, shape, classes)
    if latent == "binary":
        front = input_map(config.normalise)
        return BinaryStochasticNet(math.prod(shape), encoder, classes, front=front)
    before = [] if config.name in SMALL else encoder
    if not config.bottleneck:
        return _chain(config, shape, [*before, *decoder, classes])
    code = _chain(config, shape, [*before, code_width(latent, config.bottleneck)])
    head, activation = mlp([config.bottleneck, *decoder, classes]), config.latent_activation
    return Bottleneck(code, head, latent=latent, activation=activation)


def _sigmoid_twin(config: NetworkConfig, shape: Sequence[int], classes: int) -> Bottleneck:
    """The sigmoid network of the widths of the binary one, for methods without binary layers."""
    widths = [math.prod(shape), *(config.encoder or [])]
    layers: list[nn.Module] = [*_first(config), nn.Flatten()]
    for wide, narrow in pairwise(widths):
        layers += [*mlp([wide, narrow]), nn.Sigmoid()]
    return Bottleneck(nn.Sequential(*layers), mlp([widths[-1], classes]))


def _chain(config: NetworkConfig, shape: Sequence[int], widths: Sequence[int]) -> nn.Module:
    """The network followed by dense layers of these widths, the first of which is its own last."""
    layers = NETWORKS[config.name](config, shape, widths[0])
    if len(widths) > 1:
        layers += [nn.ReLU(), *mlp(widths)]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def _check_latent(config: NetworkConfig, latent: str) -> None:
    binary = config.name == "binary"
    if latent == "binary" and not binary:
        raise ConfigError(
            f"the method needs binary stochastic layers, which {config.name} does not have; "
            "set network.name to binary"
        )
    if binary and latent not in ("binary", "deterministic"):
        raise ConfigError(
            f"the layers of a binary network are its latents, and the method trains a {latent} "
            "one; set network.name to another network"
        )
    if config.latent_activation != "none" and (binary or not config.bottleneck):
        raise ConfigError(
            "network.latent_activation is a setting of a bottleneck, and this network has none; "
            "leave it out"
        )
    check_activation(config.latent_activation, latent)
    if not config.bottleneck and latent != "deterministic":
        raise ConfigError(
            f"a network with bottleneck = 0 has no latent, and the method trains a {latent} one; "
            "set network.bottleneck to its width, as in 256"
        )
