"""The network and the training settings that a run takes where it names none."""

from __future__ import annotations

from dataclasses import replace

from narrows.methods import METHODS
from narrows.models.networks import NetworkConfig
from narrows.training.config import TrainConfig
from narrows.training.published import PUBLISHED

__all__ = ["DEFAULTS", "natural_network"]

_IB_RAR = PUBLISHED["ib-rar"]
_BINARY_WIDTHS = [512, 512]  # of IMB on MNIST

DEFAULTS: dict[str, tuple[NetworkConfig, TrainConfig]] = {
    "digits": (
        NetworkConfig(encoder=[64, 64], bottleneck=4, decoder=[64]),
        TrainConfig(epochs=100, batch_size=64, learning_rate=1e-3, critic_learning_rate=1e-3),
    ),
    "mnist": (
        NetworkConfig(encoder=[128, 128], bottleneck=10, decoder=[128]),
        PUBLISHED["aib"],
    ),
    "fashion-mnist": (
        NetworkConfig(name="cnn", encoder=[32, 64], bottleneck=64, decoder=[128]),
        PUBLISHED["aib"],
    ),
    "cifar10": (NetworkConfig("vgg16", bottleneck=256), _IB_RAR),
    "cifar100": (NetworkConfig("wide_resnet", bottleneck=256), _IB_RAR),
    "svhn": (NetworkConfig("vgg16", bottleneck=256), replace(_IB_RAR, augment="none")),
    "tiny-imagenet": (NetworkConfig("vgg16", bottleneck=256), _IB_RAR),
    "twelve-bit": (
        NetworkConfig(encoder=[10, 10], bottleneck=2, decoder=[10]),
        TrainConfig(epochs=300, batch_size=256, learning_rate=1e-3),
    ),
    "toy1": (
        NetworkConfig(encoder=[], bottleneck=2, decoder=[], normalise=False),
        TrainConfig(epochs=20, batch_size=256, learning_rate=1e-2),
    ),
    "toy2": (
        NetworkConfig(encoder=[], bottleneck=25, decoder=[], normalise=False),
        TrainConfig(epochs=20, batch_size=256, learning_rate=1e-3),
    ),
}


def natural_network(data: str, method: str) -> NetworkConfig:
    """The network of a method on a data set where the user has named none.

    It is the data set's own. A method of binary stochastic layers gets layers of the same widths,
    or of 512 and 512 units where the data set's network is not a dense one with hidden layers.

    Example:
        >>> natural_network("digits", "sfnn").encoder
        [64, 64]
    """
    network, _ = DEFAULTS[data]
    if METHODS[method].latent != "binary":
        return network
    widths = network.encoder if network.name == "mlp" else None
    return NetworkConfig(
        "binary", encoder=list(widths or _BINARY_WIDTHS), normalise=network.normalise
    )
