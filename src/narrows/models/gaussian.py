"""The Gaussian posterior p(z|x) of stochastic bottlenecks: its five forms, draws and KL divergence.

"gaussian"   N(mu(x), diag sigma(x)^2)   the encoder returns [mu, raw sigma]
"full"       N(mu(x), L(x) L(x)^T)       the encoder returns [mu, raw lower triangle]
"cholesky"   N(mu(x), L(x) L(x)^T)       likewise, with another map to L
"unit"       N(mu(x), I)                 the encoder returns mu
"shared"     N(mu(x), s^2 I)             the encoder returns mu, s is one learned number

z = mean + L eps,  eps ~ N(0, I)
KL(N(mean, diag scale^2) || N(0, I)) = 1/2 sum_k (mean_k^2 + scale_k^2 - 1 - 2 log scale_k)
KL(N(mean, L L^T) || N(0, I)) = 1/2 (|mean|^2 + |L|_F^2 - K) - sum_k log L_kk

A scale is softplus(t), which float32 rounds to 0 below t = -103. Its logarithm equals t there, so
it is computed from t, and divergences and their gradients stay exact.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.errors import InputError
from narrows.models.noise import standard_normal
from narrows.models.precision import at_least_float32
from narrows.types import Latent

__all__ = [
    "LatentKind",
    "NetworkLatent",
    "cholesky_parameters",
    "code_width",
    "draw",
    "kl_to_standard_normal",
    "log_of_scale",
    "raw_scales",
    "root_softplus",
    "split_parameters",
]

LatentKind = Literal["deterministic", "gaussian", "full", "cholesky", "unit", "shared"]
NetworkLatent = LatentKind | Literal["binary"]
"""The kind of latent of a `Bottleneck`, or `"binary"` for the layers of a binary network."""

_SCALE_SHIFT = 5.0
# Below, softplus(t) is exp(t) to the last bit of float64, and still above 0 in float32.
_SMALL = -80.0


def code_width(kind: LatentKind, size: int) -> int:
    """Number of features that an encoder returns for a latent of `size` units."""
    triangle = size * (size + 1) // 2
    return size + {"gaussian": size, "full": triangle, "cholesky": triangle}.get(kind, 0)


def log_of_scale(scale: Tensor, t: Tensor) -> Tensor:
    """The logarithm of a scale softplus(t), also where the scale is rounded to 0.

    Example:
        >>> t = torch.tensor([-1000.0, 0.0])
        >>> log_of_scale(F.softplus(t), t)
        tensor([-1.0000e+03, -3.6651e-01])
    """
    small = t < _SMALL
    return torch.where(small, t, scale.masked_fill(small, 1).log())


def root_softplus(t: Tensor) -> Tensor:
    """The square root of softplus(t), whose gradient stays finite where softplus(t) becomes 0."""
    small = t < _SMALL
    root = F.softplus(t.masked_fill(small, 0)).sqrt()
    # Clamped, so that the branch that is not chosen has a finite gradient.
    return torch.where(small, (t.clamp_max(_SMALL) / 2).exp(), root)


def split_parameters(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale `[batch, K]` from an encoder's output `[batch, 2 K]`.

    `scale = softplus(raw - 5)` is near 0.007 at first, so that training begins almost without noise
    (Alemi et al. 2017, arXiv 1612.00410, section 4.1).
    """
    mean, raw_scale = raw.chunk(2, -1)
    return mean, F.softplus(raw_scale - _SCALE_SHIFT)


def raw_scales(raw: Tensor, size: int, kind: LatentKind = "gaussian") -> Tensor:
    """The t `[batch, K]` of the scales softplus(t), on the diagonal where it is a triangle.

    Args:
        raw: the encoder's output.
        size: K.
        kind: of the latent.
    """
    t = raw[..., size : 2 * size]
    return t if kind == "cholesky" else t - _SCALE_SHIFT


def cholesky_parameters(raw: Tensor, kind: LatentKind = "full") -> tuple[Tensor, Tensor]:
    """Mean `[batch, K]` and Cholesky factor `[batch, K, K]` from `[batch, K (K + 3) / 2]`.

        "full"       L_ii = softplus(raw_ii - 5),   L_ij = raw_ij L_ii
        "cholesky"   L_ii = softplus(raw_ii),       L_ij = raw_ij,        j < i

    `"full"` is as narrow at first as a diagonal posterior. `"cholesky"` is the plain reading of
    Alemi et al. (2017), arXiv 1612.00410, section 4.1.2: the network predicts the Cholesky factor.

    Args:
        raw: means, then the diagonal, then the entries below it, row by row.
        kind: `"full"` or `"cholesky"`.

    Raises:
        InputError: for a number of features that is no K (K + 3) / 2.
    """
    size = (math.isqrt(9 + 8 * raw.shape[-1]) - 3) // 2
    if size < 1 or code_width("full", size) != raw.shape[-1]:
        raise InputError(
            "the encoder of a latent with full covariance returns K means and the K (K + 1) / 2 "
            f"entries of a triangle, so 2, 5, 9, 14, ... features; got {raw.shape[-1]}"
        )
    mean, _, below = raw.split([size, size, size * (size - 1) // 2], -1)
    scale = F.softplus(raw_scales(raw, size, kind))
    if kind == "cholesky":
        return mean, _triangle(below, size) + torch.diag_embed(scale)
    unit = _triangle(below, size) + torch.eye(size, dtype=below.dtype, device=below.device)
    return mean, scale.unsqueeze(-1) * unit


def _triangle(below: Tensor, size: int) -> Tensor:
    """Lower triangular `[batch, size, size]` with zeros on the diagonal, filled row by row."""
    rows, columns = torch.tril_indices(size, size, -1, device=below.device)
    place = torch.zeros(size, size, dtype=torch.long, device=below.device)
    place[rows, columns] = torch.arange(1, len(rows) + 1, device=below.device)
    padded = F.pad(below, (1, 0))  # index 0 holds the 0 above the diagonal
    return padded[..., place]


def draw(mean: Tensor, scale: Tensor, samples: int | None = None) -> Tensor:
    """Reparameterised draws: `[batch, K]`, or `[samples, batch, K]` where `samples` is given.

    Args:
        mean: `[batch, K]`.
        scale: standard deviations `[batch, K]` or Cholesky factors `[batch, K, K]`.
        samples: draws per input; `None` for one, without a samples axis.
    """
    noise = standard_normal(mean.shape if samples is None else (samples, *mean.shape), mean)
    if scale.dim() > mean.dim():
        return mean + (scale @ noise.unsqueeze(-1)).squeeze(-1)
    return torch.addcmul(mean, scale, noise)


def kl_to_standard_normal(latent: Latent) -> Tensor:
    """KL(p(z|x) || N(0, I)) in nats for each input: `[batch]`.

    Args:
        latent: with standard deviations `[batch, K]` or Cholesky factors `[batch, K, K]`.

    Raises:
        InputError: if the latent has no distribution.
    """
    if latent.scale is None:
        raise InputError("a deterministic latent has no KL divergence to a prior: it is infinite")
    mean, scale = at_least_float32(latent.mean), at_least_float32(latent.scale)
    full = scale.dim() > mean.dim()
    variance = scale.square().sum(-1) if full else scale.square()
    log_scale = latent.log_scale
    if log_scale is None:
        log_scale = (scale.diagonal(dim1=-2, dim2=-1) if full else scale).log()
    return (0.5 * (mean.square() + variance - 1) - log_scale).sum(-1)
