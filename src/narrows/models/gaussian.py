"""The Gaussian posterior p(z|x) = N(mean, diag scale^2) of variational bottlenecks.

z = mean + scale * eps,  eps ~ N(0, I)
KL(N(mean, diag scale^2) || N(0, I)) = 1/2 sum_k (mean_k^2 + scale_k^2 - 1 - 2 log scale_k)
KL(N(mean, L L^T) || N(0, I)) = 1/2 (|mean|^2 + |L|_F^2 - K) - sum_k log L_kk
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.errors import InputError
from narrows.models.noise import standard_normal
from narrows.types import Latent

__all__ = ["draw", "kl_to_standard_normal", "split_parameters"]

_SCALE_SHIFT = 5.0


def split_parameters(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale `[batch, K]` from an encoder's output `[batch, 2 K]`.

    `scale = softplus(raw - 5)` starts near 0.007, so that training begins almost deterministic
    (Alemi et al. 2017, arXiv 1612.00410, section 4.1).
    """
    mean, raw_scale = raw.chunk(2, -1)
    return mean, F.softplus(raw_scale - _SCALE_SHIFT)


def draw(mean: Tensor, scale: Tensor, samples: int | None = None) -> Tensor:
    """Reparameterised draws: `[batch, K]`, or `[samples, batch, K]` where `samples` is given."""
    shape = mean.shape if samples is None else (samples, *mean.shape)
    return torch.addcmul(mean, scale, standard_normal(shape, mean))


def kl_to_standard_normal(latent: Latent) -> Tensor:
    """KL(p(z|x) || N(0, I)) in nats for each input: `[batch]`.

    Args:
        latent: with standard deviations `[batch, K]` or Cholesky factors `[batch, K, K]`.

    Raises:
        InputError: if the latent has no distribution.
    """
    if latent.scale is None:
        raise InputError("a deterministic latent has no KL divergence to a prior: it is infinite")
    mean, scale = latent.mean, latent.scale
    full = scale.dim() > mean.dim()
    variance = scale.square().sum(-1) if full else scale.square()
    deviation = scale.diagonal(dim1=-2, dim2=-1) if full else scale
    return (0.5 * (mean.square() + variance - 1) - deviation.log()).sum(-1)
