"""VGG16: thirteen convolutions in five blocks, then three dense layers.

    64 64 | 128 128 | 256 256 256 | 512 512 512 | 512 512 512 | 4096 4096 outputs

Each block ends in a max-pooling of 2; all convolutions are 3x3, padded, each followed by a ReLU.

Source: Simonyan & Zisserman (2015), arXiv 1409.1556, configuration D. `stem="imagenet"` is their
network, whose features are averaged to 7x7; `stem="cifar"` flattens them without averaging, 512 for
images of 32x32. Parameters have torchvision's names, so that its weights load.

Layers to read, in both: `block1` to `block5` (after their pooling), `fc1` and `fc2` (after their
ReLU). IB-RAR's robust ones are `block5`, `fc1`, `fc2` (Xu et al. 2022, arXiv 2302.10896, Table 3).
The VGG16 of its published code has `fc_norm=True, normalise=False`.

Deviations: batch normalisation by default, as is common practice; initial weights of convolutions
as in He et al. (2015), of dense layers as in `mlp`; no dropout by default.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from narrows.models.convolution import (
    NormKind,
    Stem,
    check_images,
    conv,
    input_map,
    linear,
    normalisation,
    scaled,
)

__all__ = ["VGG16"]

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_HIDDEN = 4096


class VGG16(nn.Module):
    """VGG16 for images of at least 32x32.

    Args:
        shape: of an image, `[channels, height, width]`.
        outputs: width of the last layer, whose output has no activation function.
        norm: `"batch"`, `"group"` or `"none"`.
        stem: `"cifar"` or `"imagenet"`.
        dropout: share of the units of `fc1` and `fc2` that is dropped in training.
        normalise: whether inputs go from [0, 1] to [-1, 1] first; the attribute `normalise` may be
            set to any other map.
        width: share of the published channels and of the 4096 units, as in 1/16.
        fc_norm: whether batch normalisation follows the linear maps of `fc1` and `fc2`.

    Raises:
        ConfigError: for inputs that are no images or too small, and an unknown `norm`.

    Example:
        >>> import torch
        >>> VGG16((3, 32, 32), 10, norm="none")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        *,
        norm: NormKind = "batch",
        stem: Stem = "cifar",
        dropout: float = 0.0,
        normalise: bool = True,
        width: float = 1.0,
        fc_norm: bool = False,
    ) -> None:
        super().__init__()
        check_images("vgg16", shape, 2 ** len(_BLOCKS))
        self.normalise = input_map(normalise)
        # Registered by these names first, so that `named_modules` returns them. They have no
        # parameters, so the names of parameters stay torchvision's.
        for number in range(1, len(_BLOCKS) + 1):
            self.add_module(f"block{number}", nn.MaxPool2d(2))
        self.features = self._features(shape[0], norm, width)
        small = [side // 2 ** len(_BLOCKS) for side in shape[1:]]
        self.avgpool = nn.Identity() if stem == "cifar" else nn.AdaptiveAvgPool2d(7)
        rows, columns = small if stem == "cifar" else (7, 7)
        self.fc1, self.fc2 = nn.ReLU(), nn.ReLU()
        flat, hidden = scaled(_BLOCKS[-1][-1], width) * rows * columns, scaled(_HIDDEN, width)
        # Left out where unused, since torchvision numbers the layers without them.
        norms = [[nn.BatchNorm1d(hidden)] if fc_norm else [] for _ in range(2)]
        self.classifier = nn.Sequential(
            *(linear(flat, hidden), *norms[0], self.fc1, nn.Dropout(dropout)),
            *(linear(hidden, hidden), *norms[1], self.fc2, nn.Dropout(dropout)),
            linear(hidden, outputs),
        )

    def _features(self, wide: int, norm: NormKind, width: float) -> nn.Sequential:
        layers: list[nn.Module] = []
        for number, widths in enumerate(_BLOCKS, 1):
            for narrow in (scaled(channels, width) for channels in widths):
                # Left out where unused, since torchvision numbers the layers without them.
                between = [] if norm == "none" else [normalisation(norm, narrow)]
                layers += [conv(wide, narrow), *between, nn.ReLU()]
                wide = narrow
            layers.append(self.get_submodule(f"block{number}"))
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `[batch, outputs]` of images `[batch, channels, height, width]`."""
        return self.classifier(self.avgpool(self.features(self.normalise(x))).flatten(1))
