"""ResNet-18: eight residual blocks of two convolutions, in four groups of rising width.

    x' = relu(x + F(x)),   F = norm conv3x3 relu norm conv3x3

Source: He, Zhang, Ren & Sun (2016), arXiv 1512.03385, Table 1. `stem="imagenet"` is their first
layer, 7x7 with stride 2 and a max-pooling; `stem="cifar"` is one convolution of 3x3, as the papers
on small images have it. Parameters have torchvision's names, so that its weights load; layers to
read are `layer1` to `layer4`.

Deviations: without normalisation the initial weights of the last convolution of each block are
divided by the square root of the number of blocks, so that their sum stays of order one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from narrows.models.convolution import (
    NormKind,
    ResidualNet,
    Stem,
    check_images,
    conv,
    input_map,
    linear,
    normalisation,
    scaled,
    shrink_branches,
)

__all__ = ["ResNet18"]

_WIDTHS = (64, 128, 256, 512)
_BLOCKS = 2


class _Block(nn.Module):
    def __init__(self, wide: int, narrow: int, stride: int, norm: NormKind) -> None:
        super().__init__()
        bias = norm == "none"
        self.conv1 = conv(wide, narrow, stride=stride, bias=bias)
        self.bn1 = normalisation(norm, narrow)
        self.relu = nn.ReLU()
        self.conv2 = conv(narrow, narrow, bias=bias)
        self.bn2 = normalisation(norm, narrow)
        self.downsample = None
        if stride > 1 or wide != narrow:
            skip = conv(wide, narrow, 1, stride=stride, bias=bias)
            self.downsample = nn.Sequential(skip, normalisation(norm, narrow))

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.bn1(self.conv1(x)))
        h = self.bn2(self.conv2(h))
        return self.relu(h + (x if self.downsample is None else self.downsample(x)))


class ResNet18(ResidualNet):
    """ResNet-18 for images of at least 8x8, or 32x32 with the stem of ImageNet.

    Args:
        shape: of an image, `[channels, height, width]`.
        outputs: width of the last layer, whose output has no activation function.
        norm: `"batch"`, `"group"` or `"none"`.
        stem: `"cifar"` or `"imagenet"`.
        normalise: whether inputs go from [0, 1] to [-1, 1] first; the attribute `normalise` may be
            set to any other map.
        width: share of the published channels, as in 1/16 for a network of 4, 8, 16 and 32.

    Raises:
        ConfigError: for inputs that are no images or too small, and an unknown `norm`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        *,
        norm: NormKind = "batch",
        stem: Stem = "cifar",
        normalise: bool = True,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        check_images("resnet18", shape, 8 if stem == "cifar" else 32)
        small = stem == "cifar"
        widths = [scaled(channels, width) for channels in _WIDTHS]
        wide = widths[0]
        self.normalise = input_map(normalise)
        self.conv1 = conv(
            shape[0], wide, 3 if small else 7, stride=1 if small else 2, bias=norm == "none"
        )
        self.bn1 = normalisation(norm, wide)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        wide = self.add_groups(partial(_Block, norm=norm), wide, widths, _BLOCKS)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = linear(wide, outputs)
        if norm == "none":
            shrink_branches([m.conv2 for m in self.modules() if isinstance(m, _Block)])

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `[batch, outputs]` of images `[batch, channels, height, width]`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.normalise(x)))))
        return self.fc(self.avgpool(self.run_groups(x)).flatten(1))
