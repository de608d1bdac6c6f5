"""The small convolutional networks that the papers train and attack on MNIST.

| name    | for each of the channels c             | then      | source                           |
|---------|----------------------------------------|-----------|----------------------------------|
| cnn     | conv 3x3xc; at last one max-pool 2     | 64 - 128  | AIB's Fashion-MNIST network      |
| lenet   | conv 5x5xc padded, max-pool 2          | 1024      | HBaR's and Madry's MNIST network |
| carlini | conv 3x3xc, conv 3x3xc, max-pool 2     | 200 - 200 | Carlini & Wagner's, TRADES'      |

A ReLU follows each convolution; channels are 32 and 64 in all three.

Sources: Zhai & Zhang (2021), arXiv 2103.00381; Wang et al. (2021), arXiv 2106.02734, and Madry et
al. (2018), arXiv 1706.06083; Carlini & Wagner (2017), arXiv 1608.04644, and Zhang et al. (2019),
arXiv 1901.08573.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from narrows.errors import ConfigError
from narrows.models.convolution import check_images

__all__ = ["SMALL", "small_cnn"]


class _Plan(NamedTuple):
    kernel: int
    padded: bool
    repeats: int
    pool_each: bool


SMALL = {
    "cnn": _Plan(kernel=3, padded=False, repeats=1, pool_each=False),
    "lenet": _Plan(kernel=5, padded=True, repeats=1, pool_each=True),
    "carlini": _Plan(kernel=3, padded=False, repeats=2, pool_each=True),
}


def small_cnn(
    name: str, shape: Sequence[int], channels: Sequence[int]
) -> tuple[list[nn.Module], int]:
    """Layers of the network of that name, and the number of features that they return.

    Args:
        name: one of `SMALL`.
        shape: of an image, `[channels, height, width]`.
        channels: of the convolutions.

    Raises:
        ConfigError: for inputs that are no images or too small, and for no channels.
    """
    if not channels:
        raise ConfigError(f"{name} needs the channels of at least one convolution, got encoder=[]")
    plan = SMALL[name]
    loss = 0 if plan.padded else plan.kernel - 1
    last = len(channels) - 1
    pooled = [plan.pool_each or index == last for index in range(len(channels))]
    least = 1
    for pool in reversed(pooled):
        least = least * (1 + pool) + plan.repeats * loss
    check_images(name, shape, least)
    layers: list[nn.Module] = []
    wide, *sides = shape
    for narrow, pool in zip(channels, pooled, strict=True):
        for _ in range(plan.repeats):
            padding = plan.kernel // 2 if plan.padded else 0
            layers += [nn.Conv2d(wide, narrow, plan.kernel, padding=padding), nn.ReLU()]
            wide = narrow
        if pool:
            layers.append(nn.MaxPool2d(2))
        sides = [(side - plan.repeats * loss) // (1 + pool) for side in sides]
    return [*layers, nn.Flatten()], wide * sides[0] * sides[1]
