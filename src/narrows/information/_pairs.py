"""The similarity exp(-D) of every pair of Gaussians from two sets, in closed form.

    B(i, j)  = sum_k (m_i - m_j)^2 / 4v + 1/2 log(v / 2 s_i s_j),  v = s_i^2 + s_j^2
    KL(i, j) = sum_k ((m_i - m_j)^2 + s_i^2) / 2 s_j^2 - 1/2 + log(s_j / s_i)

B is the Bhattacharyya distance, KL the Kullback-Leibler divergence of diagonal Gaussians; with one
scale s for all, B = d^2 / 8s^2 and KL = 4 B. Source: Kolchinsky & Tracey (2017), arXiv 1706.02419.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from narrows.checks import ArrayLike, check_count, check_samples
from narrows.errors import InputError
from narrows.information._checks import check_scale, constant_columns, standard_error
from narrows.types import Estimate

__all__ = [
    "LOWER",
    "UPPER",
    "Gaussians",
    "check_resolved",
    "describe",
    "error_samples",
    "make_estimate",
    "make_mixture",
    "similarities",
    "squared_distances",
    "standardise",
    "strips",
]

LOWER = {"bound": "lower", "distance": "bhattacharyya"}
UPPER = {"bound": "upper", "distance": "kullback-leibler"}

_ERROR_SAMPLES = 250
_SATURATED = 0.95
_GOLDEN = (5**0.5 - 1) / 2
_FACTORS = 8
# In units of the scale: rounding then moves an information by 2e-4 nats.
_FARTHEST = 3e6
_NARROWEST = 1e-300


class Gaussians(NamedTuple):
    """Diagonal Gaussians in float64.

    Attributes:
        mean: `[n, K]`.
        scale: `[n, K]`.
        shared: whether every scale is 1.
        narrow: whether some scale is so small against the means that squares of means cannot be
            subtracted from each other: distances are then computed from differences of means.
    """

    mean: Tensor
    scale: Tensor
    shared: bool
    narrow: bool = False

    def take(self, rows: Tensor | slice) -> Gaussians:
        """The Gaussians of `rows`."""
        return self._replace(mean=self.mean[rows], scale=self.scale[rows])


def standardise(mean: Tensor, scale: Tensor) -> Gaussians:
    """Move Gaussians to the origin and measure each coordinate in units of its typical scale.

    No distance changes; a scale that all samples share becomes 1.

    Raises:
        InputError: as `check_resolved`, for a shared scale.
    """
    if (scale == scale[0]).all():
        centred = (mean - mean.mean(0)) / scale[0]
        check_resolved(centred)
        return Gaussians(centred, torch.ones_like(scale), True)
    unit = scale.log().mean(0).exp()
    centred = (mean - mean.mean(0)) / unit
    # Narrower ones resemble nothing but themselves, and their logarithm must be finite.
    scale = (scale / unit).clamp_min(_NARROWEST)
    widest = torch.linalg.vector_norm(centred.abs().amax(0) / scale.amin(0)).item()
    return Gaussians(centred, scale, False, not widest <= _FARTHEST)


def check_resolved(centred: Tensor) -> None:
    """Refuse means `[..., K]`, in units of their scale, that lie too far apart.

    Raises:
        InputError: where the rounding of a squared distance is no longer small against the scale.
    """
    farthest = torch.linalg.vector_norm(centred, dim=-1).max().item()
    if not farthest <= _FARTHEST:
        raise InputError(
            f"codes lie up to {farthest:.1e} scales from their mean, where distances are lost in "
            f"rounding (at most {_FARTHEST:.0e}); give a larger scale, or rescale the columns"
        )


def error_samples(codes: Tensor) -> Tensor:
    """Which of `codes: [n, K]` a standard error is computed from, to about 5 %: `[n]` bool.

    They are spread evenly but without a period, since the samples may have one, such as labels that
    repeat.
    """
    number = torch.arange(len(codes), dtype=torch.float64, device=codes.device)
    return number * _GOLDEN % 1 < _ERROR_SAMPLES / len(codes)


def similarities(a: Gaussians, b: Gaussians) -> tuple[Tensor, Tensor, Tensor]:
    """exp(-D) of every pair, `[a, b]`: D Bhattacharyya, KL(a_i || b_j) and KL(b_j || a_i)."""
    if a.shared:
        alike = squared_distances(a.mean, b.mean).mul_(-1 / 8).exp_()
        # KL is 4 B here: two squarings instead of a second exponential.
        forth = alike.square().square_()
        return alike, forth, forth
    if a.narrow:
        return _by_differences(a, b)
    log_a, log_b = a.scale.log().sum(1)[:, None], b.scale.log().sum(1)
    alike = _bhattacharyya(a, b).add_(log_a + log_b, alpha=-0.5).neg_().exp_()
    forth = _half_mahalanobis(a, b).add_(log_b - log_a).neg_().exp_()
    back = _half_mahalanobis(b, a).T.add_(log_a - log_b).neg_().exp_()
    return alike, forth, back


def _by_differences(a: Gaussians, b: Gaussians) -> tuple[Tensor, Tensor, Tensor]:
    """`similarities` one coordinate at a time, without a difference of squares or an overflow."""
    alike, forth, back = a.mean.new_zeros(3, len(a.mean), len(b.mean))
    columns = (a.mean, b.mean, a.scale.log(), b.scale.log())
    for mean_a, mean_b, log_a, log_b in zip(*(part.T for part in columns), strict=True):
        apart, log_a = mean_a[:, None] - mean_b, log_a[:, None]
        log_v = torch.logaddexp(2 * log_a, 2 * log_b)
        alike += (apart * (-log_v / 2).exp()).square() / 4
        alike += (log_v - math.log(2) - log_a - log_b) / 2
        ratio = log_a - log_b
        for total, log_ratio, log_scale in ((forth, ratio, log_b), (back, -ratio, log_a)):
            squares = (apart * (-log_scale).exp()).square() + (2 * log_ratio).exp()
            total += (squares - 1) / 2 - log_ratio
    return alike.neg_().exp_(), forth.neg_().exp_(), back.neg_().exp_()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances `[a, b]` of all pairs of rows."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1)
    return torch.addmm(squares, a, b.T, alpha=-2).clamp_(min=0)


def _half_mahalanobis(a: Gaussians, b: Gaussians) -> Tensor:
    """KL(a_i || b_j) without the logarithms of the scales: `[a, b]`."""
    precision = b.scale.square().reciprocal()
    offset = (b.mean.square() * precision).sum(1) - a.mean.shape[1]
    total = torch.addmm(offset, a.mean.square() + a.scale.square(), precision.T)
    return total.addmm_(a.mean, (b.mean * precision).T, alpha=-2).mul_(0.5)


def _bhattacharyya(a: Gaussians, b: Gaussians) -> Tensor:
    """Bhattacharyya distance without the logarithms of the scales: `[a, b]`.

    One coordinate at a time, so that the intermediate results stay in the cache.
    """
    parts = (a.mean, b.mean, a.scale.square(), b.scale.square())
    columns = [part.T.contiguous() for part in parts]
    distance = a.mean.new_full((len(a.mean), len(b.mean)), -0.5 * len(columns[0]) * math.log(2))
    product = torch.ones_like(distance)
    for k, (mean_a, mean_b, var_a, var_b) in enumerate(zip(*columns, strict=True), start=1):
        v = var_a[:, None] + var_b
        distance.addcdiv_((mean_a[:, None] - mean_b).square_(), v, value=0.25)
        product.mul_(v)
        # The logarithm takes most of the time: one of a product serves several coordinates.
        if k % _FACTORS == 0 or k == len(columns[0]):
            distance.add_(product.log_(), alpha=0.5)
            product.fill_(1)
    return distance


def make_mixture(mean: ArrayLike, scale: Tensor | float, block: int) -> tuple[Gaussians, int]:
    """The Gaussians p(z|x) in float64, and the checked number of rows of a block.

    Args:
        mean: `[n, K]`.
        scale: `[n, K]`, or a number.
        block: number of rows.
    """
    mean = check_samples(mean, "mean")
    mixture = standardise(mean, check_scale(scale, mean))
    return mixture, check_count(block, "block", 1, InputError)


def strips(n: int, block: int) -> Iterator[slice]:
    """Slices of `block` rows that cover `n` rows."""
    for start in range(0, n, block):
        yield slice(start, min(start + block, n))


def describe(scale: Tensor | float, upper: Tensor, mixture: Gaussians) -> dict[str, Any]:
    """The diagnostics that all pairwise bounds have.

    Args:
        scale: as the user gave it.
        upper: bound of the information, in nats.
        mixture: the Gaussians.
    """
    n = len(mixture.mean)
    noise = None if isinstance(scale, Tensor) else scale
    measures = "the stochastic code" if noise is None else f"the code + N(0, {noise:g}^2 I)"
    return {
        "noise_scale": noise,
        "measures": f"information in {measures} about which of the {n} samples it came from",
        "constant_columns": constant_columns(mixture.mean),
        "saturated": upper.item() > _SATURATED * math.log(n),
    }


def make_estimate(
    nats: Tensor,
    influence: Tensor,
    mixture: Gaussians,
    diagnostics: dict[str, Any],
    ceiling: float = math.inf,
) -> Estimate:
    """An estimate from its value and the influence of some samples on it.

    Args:
        nats: the value.
        influence: `[m]`, of `m` of the samples.
        mixture: the Gaussians of all.
        diagnostics: of the estimate.
        ceiling: that it cannot exceed, beside log n.
    """
    n = len(mixture.mean)
    # The chosen samples stand for all n, and the mean of n has a smaller error.
    error = standard_error(influence) * math.sqrt(len(influence) / n)
    return Estimate(nats.item(), error, n, min(ceiling, math.log(n)), diagnostics)
