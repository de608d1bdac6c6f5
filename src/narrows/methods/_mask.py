"""The channel mask of IB-RAR: channels that depend least on the labels are set to zero.

    T_c <- phi_c T_c,   phi_c = [nHSIC(T_c, Y) >= its 5 % quantile over the channels]

Source: Xu, Perin & Picek (2022), arXiv 2302.10896, eq. 3. All channels are scored in one call. With
A_c = K_c + eps m I, and V V' = L~ the normalised kernel of labels or images,

    nHSIC = |V|^2 - eps m (|W|^2 - |W'w|^2 / |w|^2),   A_c = R R',  W = R^-1 V,  w = R^-1 1

so that a channel costs one Cholesky factor and a few triangular solves, without centring its
kernel. All computations are in float64.

Deviation: the kernel of the labels is linear, which needs no number of classes. The Gaussian kernel
has the same eigenvectors, and at eps = 1e-5 nearly the same normalised eigenvalues.
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

_ONE_IN = 20
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POINTWISE = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.ReLU, nn.ReLU6),
    *(nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Tanh, nn.Sigmoid),
)


def find_layer(model: nn.Module, name: str | None) -> tuple[str, nn.Module]:
    """The layer of that name; by default the last convolution with its pointwise layers.

    Args:
        model: any classifier.
        name: of the layer; `None` for the default, which is named by its last part.


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
    return modules[last]


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


def channel_mask(features: Tensor, batch: Batch, kind: Mask, eps: float) -> Tensor:
    """The channels that are kept: `[C]` bool.

    A channel is dropped where its dependence on the labels lies below the 5 % quantile.


    Args:
        features: `[batch, C, ...]`.
        batch: the images and labels of these features.
        kind: `"as_coded"` also drops the 5 % of the channels that depend most on the images.
        eps: ridge of the normalisation.

    Raises:
        InputError: for features of another number of images, as those of several draws are.
    """
    if len(features) != len(batch.y):
        raise InputError(
            f"a mask needs features [{len(batch.y)}, channels, ...], got {list(features.shape)}"
        )
    with torch.no_grad():
        targets = [label_root(batch.y, eps)]
        if kind == "as_coded":
            images = gaussian_kernel(batch.x.double().flatten(1))
            targets.append(_root(images, eps, len(images)))
        scores = channel_scores(features, targets, eps)
        kept = _above_quantile(scores[0])
        return kept & _above_quantile(-scores[1]) if kind == "as_coded" else kept


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


def label_root(y: Tensor, eps: float) -> Tensor:
    """V of the linear kernel of the labels `y: [m]`: at most as many columns as classes."""
    highest = certain(y.max())
    return _root((y[:, None] == y).double(), eps, len(y) if highest is None else highest + 1)


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
