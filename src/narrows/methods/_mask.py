"""The channel mask of IB-RAR: channels that depend least on the labels are set to zero.

    T_c <- phi_c T_c,   phi_c = [nHSIC(T_c, Y) >= its 5 % quantile over the channels]

Source: Xu, Perin & Picek (2022), arXiv 2302.10896, eq. 3. All channels are scored in one call. With
A_c = K_c + eps m I, and V V' = L~ the normalised kernel of labels or images,

    nHSIC = |V|^2 - eps m (|W|^2 - |W'w|^2 / |w|^2),   A_c = R R',  W = R^-1 V,  w = R^-1 1

so that a channel costs one Cholesky factor and a few triangular solves, without centring its
kernel. All computations are in float64.

The published code has another rule, `"as_coded"`: the 10 channels that depend least on the labels,
whose kernel is Gaussian, and the 10 that depend most on the images are dropped, whatever their
number; the last channel is never scored, so it is always kept; and the channels are those of the
pooling after the last convolution.

Deviations: the kernel of the labels is linear for eq. 3, which needs no number of classes. The
Gaussian kernel has the same eigenvectors, and at eps = 1e-5 nearly the same normalised eigenvalues.
Its number of classes, which only its bandwidth depends on, is one more than the highest label of
the batch. Where a layer has fewer than 40 channels, the rule of the code drops a quarter of the
scored ones instead of 10 of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from narrows.errors import InputError
from narrows.information.hsic import default_bandwidth, gaussian_kernel, normalise_kernel
from narrows.models.layers import as_written, layer_of, unwrapped
from narrows.types import Batch

__all__ = [
    "CODED_COUNT",
    "Mask",
    "Masked",
    "certain",
    "channel_mask",
    "channel_scores",
    "find_layer",
    "label_root",
    "masking",
]

Mask = Literal["paper", "as_coded"]
CODED_COUNT = 10
"""Channels of each kind that the published code drops, of the 512 of its networks."""

_ONE_IN = 20
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POOLINGS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
_POINTWISE = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.ReLU, nn.ReLU6),
    *(nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Tanh, nn.Sigmoid),
)


def find_layer(
    model: nn.Module, name: str | None, *, pooled: bool = False
) -> tuple[str, nn.Module]:
    """The layer of that name; by default the last convolution with its pointwise layers.

    Args:
        model: any classifier.
        name: of the layer; `None` for the default, which is named by its last part.
        pooled: whether the default includes a pooling that follows in the same `nn.Sequential`.

    Raises:
        ConfigError: for a name that the model doesn't have.
        InputError: for a model without convolutions, where none is named.
    """
    if name is not None:
        return name, layer_of(model, name, " to mask")
    modules = [(label, module) for label, module in unwrapped(model).named_modules() if label]
    last = max((i for i, (_, m) in enumerate(modules) if isinstance(m, _CONVOLUTIONS)), default=-1)
    if last < 0:
        raise InputError(
            f"{type(model).__name__} has no convolution whose channels could be masked; name a "
            "layer with mask_layer=...: the units of a dense one are its channels"
        )
    while last + 1 < len(modules) and isinstance(modules[last + 1][1], _POINTWISE):
        last += 1
    return _pooling_after(model, *modules[last]) if pooled else modules[last]


def _pooling_after(model: nn.Module, name: str, layer: nn.Module) -> tuple[str, nn.Module]:
    """The pooling that follows a layer, or the layer itself where none does.

    A pooling that its `nn.Sequential` runs several times is not taken: all runs would be masked.
    """
    siblings = unwrapped(model).get_submodule(name.rpartition(".")[0])
    if not isinstance(siblings, nn.Sequential):
        return name, layer
    modules = list(siblings)
    following = modules[modules.index(layer) + 1 :][:1]
    if not (following and isinstance(following[0], _POOLINGS) and modules.count(following[0]) == 1):
        return name, layer
    # A module that is registered twice has the first of its names.
    return next(pair for pair in unwrapped(model).named_modules() if pair[1] is following[0])


@contextmanager
def masking(layer: nn.Module, mask_of: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside the block, multiply the output of `layer`, `[batch, C, ...]`, by its mask `[C]`."""

    def hook(module: nn.Module, args: object, result: object) -> Tensor:
        if not isinstance(result, Tensor) or result.dim() < 2:
            raise InputError("a layer can be masked where it returns [batch, channels, ...]")
        mask = mask_of(result.detach()).to(result.dtype)
        return result * mask.view(-1, *[1] * (result.dim() - 2))

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def channel_mask(
    features: Tensor, batch: Batch, kind: Mask, eps: float, count: int = CODED_COUNT
) -> Tensor:
    """The channels that are kept: `[C]` bool.

    Args:
        features: `[batch, C, ...]`.
        batch: the images and labels of these features.
        kind: `"paper"` drops the channels whose dependence on the labels lies below the 5 %
            quantile; `"as_coded"` drops a fixed number of those that depend least on the labels,
            and as many that depend most on the images.
        eps: ridge of the normalisation.
        count: that number.

    Raises:
        InputError: for features of another number of images, as those of several draws are.
    """
    if len(features) != len(batch.y):
        raise InputError(
            f"a mask needs features [{len(batch.y)}, channels, ...], got {list(features.shape)}"
        )
    with torch.no_grad():
        if kind == "paper":
            (scores,) = channel_scores(features, [label_root(batch.y, eps)], eps)
            return _above_quantile(scores)
        images = _root(gaussian_kernel(batch.x.double().flatten(1)), eps, len(features))
        targets = [label_root(batch.y, eps, "gaussian"), images]
        of_y, of_x = channel_scores(features, targets, eps)[:, :-1]
        dropped = _lowest(of_y, count) | _lowest(-of_x, count)
        return torch.cat([~dropped, dropped.new_ones(1)])


def _lowest(scores: Tensor, count: int) -> Tensor:
    """Which of the scores `[C]` are the `count` lowest; no more than a quarter of them."""
    lowest = scores.topk(min(count, len(scores) // 4), largest=False).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(0, lowest, True)


def _above_quantile(scores: Tensor) -> Tensor:
    """Which scores `[C]` are not below their 5 % quantile, the smallest being the quantile 0."""
    below = -(-(len(scores) - 1) // _ONE_IN)
    return scores >= scores.kthvalue(below + 1).values


def channel_scores(features: Tensor, targets: Sequence[Tensor], eps: float) -> Tensor:
    """The nHSIC of every channel with every target: `[targets, C]`, float64, without a unit.

    Args:
        features: `[m, C, ...]`.
        targets: V `[m, columns]` of each, with V V' its normalised kernel.
        eps: ridge of the normalisation.
    """
    m = len(features)
    right = torch.cat([torch.ones_like(targets[0][:, :1]), *targets], -1)
    widths = [1, *(target.shape[-1] for target in targets)]
    ridge = eps * m * torch.eye(m, dtype=right.dtype, device=right.device)
    channels = features.double().reshape(m, features.shape[1], -1).movedim(1, 0)
    # Blocks fit the cache of a CPU; a GPU takes all channels at once.
    numbers = 2**16 if features.device.type == "cpu" else 2**26
    parts = []
    for block in channels.split(max(1, numbers // m**2)):
        factor, _ = torch.linalg.cholesky_ex(_kernels(block) + ridge)
        solved = torch.linalg.solve_triangular(
            factor, right.expand(len(block), *right.shape), upper=False
        )
        ones, *others = solved.split(widths, -1)
        length = ones.square().sum((-2, -1))
        parts.append(
            torch.stack(
                [
                    w.square().sum((-2, -1)) - (ones.mT @ w).square().sum((-2, -1)) / length
                    for w in others
                ]
            )
        )
    whole = torch.stack([target.square().sum() for target in targets])
    return whole[:, None] - eps * m * torch.cat(parts, 1)


def _kernels(x: Tensor) -> Tensor:
    """The `gaussian_kernel` of `[channels, m, pixels]`, in few passes over its large result."""
    x = (x - x.mean(-2, keepdim=True)) / default_bandwidth(x.shape[-1])
    half = -0.5 * x.square().sum(-1)
    return torch.baddbmm(half[:, :, None] + half[:, None, :], x, x.mT).exp()


def label_root(y: Tensor, eps: float, kind: Literal["linear", "gaussian"] = "linear") -> Tensor:
    """V of the kernel of the one-hot labels `y: [m]`: at most as many columns as classes.

    Two different one-hot vectors of C classes have a squared distance of 2, so that the Gaussian
    kernel of bandwidth 5 sqrt(C) is exp(-1 / 25 C) there. Constants vanish when it is centred.

    Args:
        y: class numbers.
        eps: ridge of the normalisation.
        kind: of kernel.
    """
    kernel, highest = (y[:, None] == y).double(), certain(y.max())
    if kind == "gaussian":
        kernel = -torch.expm1(-1 / (default_bandwidth(1) ** 2 * (y.max().double() + 1))) * kernel
    return _root(kernel, eps, len(y) if highest is None else highest + 1)


def _root(kernel: Tensor, eps: float, rank: int) -> Tensor:
    """V `[m, rank]` with V V' the normalised kernel, whose rank is at most `rank`."""
    values, vectors = torch.linalg.eigh(normalise_kernel(kernel, eps))
    return vectors[:, -rank:] * values[-rank:].clamp_min(0).sqrt()


def certain(value: Tensor) -> int | None:
    """The value of a scalar tensor; None inside vmap, where members have different values."""
    try:
        return int(value)
    except RuntimeError:  # inside vmap
        return None


class Masked(nn.Module):
    """A classifier with some channels set to zero; its weights are shared, not copied.

    Args:
        model: any classifier.
        layer: name of the layer whose channels are masked.
        mask: `[C]` bool, the channels that are kept; saved with the module.
    """

    mask: Tensor

    def __init__(self, model: nn.Module, layer: str, mask: Tensor) -> None:
        super().__init__()
        self.model, self.layer = model, layer
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> object:
        """The output of the model with those channels at zero."""
        layer = find_layer(self.model, self.layer)[1]
        with as_written(self.model), masking(layer, lambda _: self.mask):
            return self.model(x)

    def extra_repr(self) -> str:
        """Show what is masked."""
        return f"layer={self.layer!r}, dropped={int((~self.mask).sum())} of {len(self.mask)}"
