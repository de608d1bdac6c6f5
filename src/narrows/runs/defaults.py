"""The network and the training settings that a run takes where it names none."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from narrows.data import load
from narrows.data.own import stamp_of
from narrows.methods import METHODS
from narrows.models.networks import NetworkConfig
from narrows.training.config import TrainConfig
from narrows.training.published import PUBLISHED

__all__ = ["DEFAULTS", "defaults_of", "natural_network"]

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

# Of data of the user's own.
_DENSE = NetworkConfig(encoder=[128, 128], bottleneck=10, decoder=[128])
_CONVOLUTIONS = NetworkConfig(name="cnn", encoder=[32, 64], bottleneck=64, decoder=[128])
_SMALLEST_PHOTO = 16  # pixels of a side, from which convolutions are worth their time
_MANY = 10_000


def defaults_of(data: str) -> tuple[NetworkConfig, TrainConfig]:
    """Network and training settings of a data set; of the user's own, by what it holds.

    Features get a dense network, images of 16 x 16 pixels or more a convolutional one. Up to
    10,000 training samples are passed over 100 times, more of them 30 times.

    Args:
        data: as `narrows.data.load` takes it.

    Raises:
        DataError: if data of the user's own cannot be loaded.
    """
    return DEFAULTS[data] if data in DEFAULTS else _by_content(data, stamp_of(data))


@lru_cache(maxsize=8)
def _by_content(data: str, stamp: object) -> tuple[NetworkConfig, TrainConfig]:
    train = load(data).train
    photos = train.image and len(train.shape) == 3 and min(train.shape[1:]) >= _SMALLEST_PHOTO
    network = replace(_CONVOLUTIONS if photos else _DENSE, normalise=train.image)
    small = len(train) <= _MANY
    return network, TrainConfig(epochs=100 if small else 30, batch_size=64 if small else 128)


def natural_network(data: str, method: str) -> NetworkConfig:
    """The network of a method on a data set where the user has named none.

    It is the data set's own. A method of binary stochastic layers gets layers of the same widths,
    or of 512 and 512 units where the data set's network is not a dense one with hidden layers.

    Example:
        >>> natural_network("digits", "sfnn").encoder
        [64, 64]
    """
    network, _ = defaults_of(data)
    if METHODS[method].latent != "binary":
        return network
    widths = network.encoder if network.name == "mlp" else None
    return NetworkConfig(
        "binary", encoder=list(widths or _BINARY_WIDTHS), normalise=network.normalise
    )
