"""Wide residual networks: few pre-activation blocks of many channels.

    conv 16 | n blocks of 16 k | n of 32 k | n of 64 k,   n = (depth - 4) / 6

Source: Zagoruyko & Komodakis (2016), arXiv 1605.07146, Table 1, with their dropout between the two
convolutions of a block. WRN-28-10 is depth 28 and width k = 10. Layers to read are `layer1` to
`layer3`.
"""

from __future__ import annotations

from collections.abc import Sequence

from narrows.errors import ConfigError
from narrows.models.convolution import NormKind
from narrows.models.preact_resnet import PreActResNet

__all__ = ["wide_resnet"]


def wide_resnet(
    shape: Sequence[int],
    outputs: int,
    *,
    depth: int = 28,
    width: int = 10,
    norm: NormKind = "batch",
    dropout: float = 0.0,
    normalise: bool = True,
) -> PreActResNet:
    """Build a wide residual network, by default WRN-28-10; arguments as of `PreActResNet`.

    Args:
        shape: of an image, `[channels, height, width]`.
        outputs: width of the last layer, whose output has no activation function.
        depth: number of layers, 6 n + 4.
        width: k, the factor on the channels.
        norm: `"batch"`, `"group"` or `"none"`.
        dropout: share of the units between a block's convolutions that is dropped in training.
        normalise: whether inputs go from [0, 1] to [-1, 1] first.

    Raises:
        ConfigError: for a depth that is no 6 n + 4, and as `PreActResNet`.

    Example:
        >>> import torch
        >>> wide_resnet((3, 32, 32), 10, depth=10, width=1)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1 or width < 1:
        raise ConfigError(
            "a wide ResNet needs a depth of 10, 16, 22, 28, ... and a width of at least 1, "
            f"got depth={depth}, width={width}"
        )
    return PreActResNet(
        shape,
        outputs,
        widths=[group * width for group in (16, 32, 64)],
        blocks=blocks,
        stem_width=16,
        norm=norm,
        dropout=dropout,
        normalise=normalise,
    )
