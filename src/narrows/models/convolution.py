"""Parts of the convolutional networks: normalisation, initial weights, groups of blocks, checks.

    w ~ N(0, 2 / fan_in),   b = 0

Source of the initial weights: He, Zhang, Ren & Sun (2015), arXiv 1502.01852, eq. 10. They keep the
variance of the signal in the forward pass, with normalisation or without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from narrows.checks import check_number
from narrows.errors import ConfigError, unknown_name
from narrows.models.mlp import Normalise

__all__ = [
    "NormKind",
    "ResidualNet",
    "Stem",
    "check_images",
    "conv",
    "input_map",
    "linear",
    "normalisation",
    "scaled",
    "shrink_branches",
]

NormKind = Literal["batch", "group", "none"]
Stem = Literal["cifar", "imagenet"]


def normalisation(kind: NormKind, channels: int) -> nn.Module:
    """Batch normalisation, group normalisation in up to 32 groups, or nothing.

    Raises:
        ConfigError: for another kind.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(math.gcd(32, channels), channels)
    if kind == "none":
        return nn.Identity()
    raise unknown_name("normalisation", str(kind), get_args(NormKind))


def conv(
    wide: int, narrow: int, kernel: int = 3, *, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
    """A padded convolution with the initial weights above.

    Args:
        wide: input channels.
        narrow: output channels.
        kernel: side of the kernel.
        stride: at 1 the images keep their size.
        bias: whether it has biases.
    """
    layer = nn.Conv2d(wide, narrow, kernel, stride, kernel // 2, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def linear(wide: int, narrow: int) -> nn.Linear:
    """A dense layer with the initial weights of `mlp`: Xavier-uniform, and zero biases."""
    layer = nn.Linear(wide, narrow)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class ResidualNet(nn.Module):
    """Base of the residual networks: groups of blocks, registered as `layer1`, `layer2`, ..."""

    groups: int = 0

    def add_groups(
        self,
        block: Callable[[int, int, int], nn.Module],
        channels: int,
        widths: Sequence[int],
        blocks: int,
    ) -> int:
        """Register the groups; the first block of each but the first has a stride of 2.

        Args:
            block: builds a block of input channels, output channels and stride.
            channels: of the images that the first group sees.
            widths: output channels of each group.
            blocks: number of blocks per group.

        Returns:
            The channels that the last group returns.
        """
        self.groups = len(widths)
        for number, width in enumerate(widths, 1):
            first = block(channels, width, 1 if number == 1 else 2)
            others = [block(width, width, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(first, *others))
            channels = width
        return channels

    def run_groups(self, x: Tensor) -> Tensor:
        """The output of the last group."""
        for number in range(1, self.groups + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x


def shrink_branches(last: Sequence[nn.Conv2d]) -> None:
    """Divide the `last` convolutions of all residual branches by the root of their number.

    Without normalisation each branch doubles the signal's variance; so their sum stays of order 1.
    """
    with torch.no_grad():
        for layer in last:
            layer.weight /= math.sqrt(len(last))


def scaled(channels: int, share: float) -> int:
    """A share of a layer's published channels, at least one: `scaled(64, 1 / 16)` is 4.

    Raises:
        ConfigError: for a share that is not positive.
    """
    return max(1, round(channels * check_number(share, "the share of channels", above=0)))


def input_map(normalise: bool) -> nn.Module:
    """The map of the inputs before the first layer: from [0, 1] to [-1, 1], or none."""
    return Normalise() if normalise else nn.Identity()


def check_images(name: str, shape: Sequence[int], least: int) -> None:
    """Refuse inputs that are no images, or too small.

    Args:
        name: of the network, for errors.
        shape: of an input.
        least: smallest height and width.

    Raises:
        ConfigError: naming the smallest side.
    """
    if len(shape) != 3:
        raise ConfigError(
            f"{name} needs images [channels, height, width], got inputs {tuple(shape)}"
        )
    if min(shape[1:]) < least:
        raise ConfigError(
            f"images of {shape[1]}x{shape[2]} are too small for {name}; at least {least} a side"
        )
