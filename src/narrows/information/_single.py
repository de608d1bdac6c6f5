"""The similarities of `_pairs` in float32, for codes that are not too far apart for it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from narrows.information._pairs import Gaussians, squared_distances

__all__ = ["fits_single", "single_similarities"]

# Rounding a mean at this distance to float32 moves a distance by 6e-4 scales, up or down.
_FARTHEST = 1e4
_WIDEST = 1e4  # ratio of a scale to the typical one of its coordinate
_FACTORS = 4  # variances of at most 2e8 whose product float32 can hold
# Distances are in bits: a power of two takes a quarter of the time of an exponential.
_BITS = 1 / math.log(2)
_SMALLEST = -90.0  # a smaller similarity changes no sum, and computing it is slow near underflow


def fits_single(mixture: Gaussians) -> bool:
    """Whether float32 gives both bounds within 1e-4 nats."""
    if mixture.narrow:
        return False
    smallest, widest = (bound.item() for bound in mixture.scale.aminmax())
    farthest = mixture.mean.abs().max().item()
    return farthest <= _FARTHEST * smallest and smallest * _WIDEST >= 1 and widest <= _WIDEST


def single_similarities(a: Gaussians, b: Gaussians) -> tuple[Tensor, Tensor, Tensor]:
    """`similarities` of Gaussians in float32; see there.

    No difference of squares is taken in float32, so that nothing cancels.
    """
    if a.shared:
        distance = squared_distances(a.mean.double(), b.mean.double()).float()
        alike = distance.mul_(-_BITS / 8).clamp_(min=_SMALLEST / 4).exp2_()
        forth = alike.square().square_()
        return alike, forth, forth
    size = (len(a.mean), len(b.mean))
    distance, forth, back = a.mean.new_zeros(3, *size)
    columns = [part.T.contiguous() for part in (a.mean, b.mean, a.scale, b.scale)]
    for mean_a, mean_b, scale_a, scale_b in zip(*columns, strict=True):
        var_a, var_b = scale_a.square()[:, None], scale_b.square()
        apart = (mean_a[:, None] - mean_b).square_()
        distance.addcdiv_(apart, var_a + var_b, value=-_BITS / 4)
        # The divergence in both directions: (d^2 + s_i^2) / 2 s_j^2, and without the d^2.
        forth.addcmul_(apart.add_(var_a), var_b.reciprocal().expand_as(apart), value=-_BITS / 2)
        back.addcmul_(
            apart.add_(var_b - var_a), var_a.reciprocal().expand_as(apart), value=-_BITS / 2
        )
    log_a = a.scale.log2().sum(1)[:, None]
    log_b = b.scale.log2().sum(1)
    half = 0.5 * _BITS * a.mean.shape[1]
    forth.add_(log_a + half).sub_(log_b)
    back.sub_(log_a - half).add_(log_b)
    alike, forth, back = (part.clamp_(min=_SMALLEST).exp2_() for part in (distance, forth, back))
    return _times_overlap(alike, a.scale, b.scale), forth, back


def _times_overlap(alike: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Multiply by the square root of prod_k 2 a_k b_k / (a_k^2 + b_k^2), without a logarithm.

    Args:
        alike: `[a, b]`.
        a: `[a, K]`.
        b: `[b, K]`.
    """
    for part_a, part_b in zip(a.split(_FACTORS, 1), b.split(_FACTORS, 1), strict=True):
        product = torch.ones_like(alike)
        for scale_a, scale_b in zip(part_a.T, part_b.T, strict=True):
            product.mul_(scale_a.square()[:, None] + scale_b.square())
        factor_a, factor_b = ((2**0.5 * part).prod(1).sqrt() for part in (part_a, part_b))
        alike.mul_(product.rsqrt_()).mul_(factor_a[:, None]).mul_(factor_b)
    return alike
