"""PreActResNet-18: residual blocks that normalise and rectify before each convolution.

    x' = x + F(x),   F = conv3x3 relu norm conv3x3 relu norm

Source: He, Zhang, Ren & Sun (2016), arXiv 1603.05027, eq. 5 and Figure 4e: no function is applied
to the sum, and one more normalisation and ReLU follow the last block (11,172,170 parameters for 10
classes). A version without that last pair is in wide use too (11,171,146): `final_norm=False`.
Where a block changes the shape, its shortcut is a 1x1 convolution of the rectified input.

Layers to read are `layer1` to `layer4`; `wide_resnet.py` builds its networks of the same blocks.

Deviations: the stem for small images is one convolution of 3x3. Without normalisation the initial
weights of the last convolution of each block are divided by the square root of the number of
blocks, so that the sum of the blocks stays of order one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from narrows.models.convolution import (
    NormKind,
    ResidualNet,
    check_images,
    conv,
    input_map,
    linear,
    normalisation,
    scaled,
    shrink_branches,
)

__all__ = ["PreActResNet"]


class _Block(nn.Module):
    def __init__(self, wide: int, narrow: int, stride: int, norm: NormKind, dropout: float) -> None:
        super().__init__()
        bias = norm == "none"
        self.bn1 = normalisation(norm, wide)
        self.conv1 = conv(wide, narrow, stride=stride, bias=bias)
        self.bn2 = normalisation(norm, narrow)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv(narrow, narrow, bias=bias)
        self.shortcut = None
        if stride > 1 or wide != narrow:
            self.shortcut = nn.Sequential(conv(wide, narrow, 1, stride=stride, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(h)
        h = self.relu(self.bn2(self.conv1(h)))
        return skip + self.conv2(self.dropout(h))


class PreActResNet(ResidualNet):
    """A network of pre-activation blocks; by default PreActResNet-18.

    Args:
        shape: of an image, `[channels, height, width]`.
        outputs: width of the last layer, whose output has no activation function.
        widths: channels of each group; every group but the first halves the images.
        blocks: residual blocks per group.
        stem_width: channels of the first convolution.
        norm: `"batch"`, `"group"` or `"none"`.
        dropout: share of the units between a block's convolutions that is dropped in training.
        final_norm: whether normalisation and ReLU follow the last block.
        normalise: whether inputs go from [0, 1] to [-1, 1] first; the attribute `normalise` may be
            set to any other map.
        width: share of all these channels, as in 1/16.

    Raises:
        ConfigError: for inputs that are no images or too small, and an unknown `norm`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: int = 2,
        stem_width: int = 64,
        norm: NormKind = "batch",
        dropout: float = 0.0,
        final_norm: bool = True,
        normalise: bool = True,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        check_images("a pre-activation ResNet", shape, 2 ** (len(widths) - 1))
        wide = scaled(stem_width, width)
        self.normalise = input_map(normalise)
        self.conv1 = conv(shape[0], wide, bias=norm == "none")
        block = partial(_Block, norm=norm, dropout=dropout)
        wide = self.add_groups(block, wide, [scaled(w, width) for w in widths], blocks)
        self.bn = normalisation(norm, wide) if final_norm else nn.Identity()
        self.relu = nn.ReLU() if final_norm else nn.Identity()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = linear(wide, outputs)
        if norm == "none":
            shrink_branches([m.conv2 for m in self.modules() if isinstance(m, _Block)])

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `[batch, outputs]` of images `[batch, channels, height, width]`."""
        x = self.run_groups(self.conv1(self.normalise(x)))
        return self.linear(self.avgpool(self.relu(self.bn(x))).flatten(1))
