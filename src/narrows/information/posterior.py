"""Information of a stochastic code whose inputs are all known, without bias."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_count, check_samples
from narrows.errors import InputError
from narrows.information._checks import check_scale, labels_of
from narrows.information._pairs import Gaussians, standardise
from narrows.information.discrete import discrete_entropy
from narrows.types import Estimate

__all__ = ["posterior_information"]

_SATURATED = 0.95
_OFF = 1e-6


def posterior_information(
    mean: ArrayLike,
    scale: ArrayLike | float,
    y: ArrayLike,
    draws: int = 2,
    generator: torch.Generator | None = None,
    block: int = 512,
) -> tuple[Estimate, Estimate]:
    """I(X;Z) and I(Z;Y) of equally likely inputs with diagonal Gaussian posteriors, by sampling.

        I(X;Z) = 1/n sum_i E_{z ~ p(z|x_i)} [ log p(z|x_i) - log 1/n sum_j p(z|x_j) ]
        I(Z;Y) = 1/n sum_i E_{z ~ p(z|x_i)} KL( p(y|z) || p(y) )
        p(y|z) = sum_j p(z|x_j) p(y|x_j) / sum_j p(z|x_j)

    The densities are known, so the only error is that of drawing z: there is no bound and no
    bandwidth. If the n inputs are all that X can be, such as the 4,096 patterns of twelve bits,
    this is the truth up to the standard error, and comparable with the exact curve of the
    bottleneck. For a sample of inputs it is the information about *which of the n inputs* z came
    from, which the bounds of `kde_bounds` enclose.

    Source: the definition of mutual information; the mixture is that of Kolchinsky & Tracey (2017),
    arXiv 1706.02419. Deviation: KL(p(y|z) || p(y)) in place of log p(y|z) / p(y) at a drawn y,
    which has the same mean and less variance.

    Args:
        mean: `[n, K]`, the means of p(z|x), or a deterministic code.
        scale: `[n, K]` standard deviations, or a number: that of the noise added to the code, in
            the code's units.
        y: `[n]` labels, which may be any integers, or `[n, C]`, p(y|x) of every input.
        draws: of z for each input; at least 2, for the standard errors.
        generator: of these draws, on the device of `mean`; None for PyTorch's global one.
        block: draws whose densities are held at once; changes memory and speed only. Time grows
            with `draws` n^2 K, memory is a few times `block` x n numbers.

    Returns:
        `(rate, relevance)` in nats, with ceilings log n and H(Y). The standard error is that of the
        draws alone. Diagnostics: `bound` ("none"), `draws`, `measures`, `saturated` (the rate is
        within 5 % of log n) and, of the relevance, `label_entropy`.

    Raises:
        InputError: for NaN, wrong shapes, fewer than 2 inputs or draws, a scale that is not
            positive, or probabilities that do not sum to 1.

    Example:
        >>> mean, y = torch.tensor([[0.0], [100.0]]), torch.tensor([0, 1])
        >>> rate, relevance = posterior_information(mean, 1.0, y)
        >>> round(rate.bits, 6), round(relevance.bits, 6)
        (1.0, 1.0)
    """
    draws = check_count(draws, "draws", 2, InputError)
    block = check_count(block, "block", 1, InputError)
    mean = check_samples(mean, "mean")
    codes = standardise(mean, check_scale(scale, mean))
    p_yx = _label_table(y, mean)
    p_y = p_yx.mean(0)
    entropy = discrete_entropy(p_y)
    rates, relevances = zip(
        *(_draw(codes, p_yx, p_y, generator, block) for _ in range(draws)), strict=True
    )
    n = len(mean)
    measures = "the inputs given, as all that X can be"
    diagnostics = {"bound": "none", "draws": draws, "measures": measures}
    rate, rate_error = _mean(torch.stack(rates))
    relevance, relevance_error = _mean(torch.stack(relevances))
    diagnostics["saturated"] = rate > _SATURATED * math.log(n)
    return (
        Estimate(rate, rate_error, n, math.log(n), diagnostics),
        Estimate(relevance, relevance_error, n, entropy, diagnostics | {"label_entropy": entropy}),
    )


def _label_table(y: ArrayLike, mean: Tensor) -> Tensor:
    """p(y|x): `[n, C]` in float64, with a column for each label that occurs."""
    table = as_tensor(y, "y").detach()
    if table.dim() != 2 or (table.shape[1] == 1 and not table.is_floating_point()):
        labels, number = labels_of(table, mean).unique(return_inverse=True)
        return torch.nn.functional.one_hot(number, len(labels)).to(mean)
    if len(table) != len(mean) or not table.shape[1]:
        raise InputError(
            f"y must be [{len(mean)}] labels or [{len(mean)}, C] probabilities, "
            f"got {table.dtype} {list(table.shape)}"
        )
    rounding = torch.finfo(table.dtype).eps if table.is_floating_point() else 0.0
    table = table.to(mean)
    total = table.sum(1, keepdim=True)
    off = (total - 1).abs().max().item()
    # Written so that NaN is refused too.
    if not (off < max(_OFF, 4 * rounding) and table.min() >= 0):
        raise InputError(f"rows of p(y|x) must sum to 1 and not be negative; they are off by {off}")
    return table / total if rounding > _OFF else table


def _draw(
    codes: Gaussians, p_yx: Tensor, p_y: Tensor, generator: torch.Generator | None, block: int
) -> tuple[Tensor, Tensor]:
    """One draw of z for each input: its two terms, `[n]` each."""
    noise = torch.randn(
        codes.mean.shape, dtype=codes.mean.dtype, device=codes.mean.device, generator=generator
    )
    # The constant of the densities, -K/2 log 2 pi, cancels and is left out.
    log_drawn = -0.5 * noise.square().sum(1) - codes.scale.log().sum(1)
    z = codes.mean + codes.scale * noise
    log_densities = _log_densities(codes)
    rates, relevances = [], []
    for rows in torch.arange(len(z), device=z.device).split(block):
        log_p = log_densities(z[rows])
        largest = log_p.amax(1, keepdim=True)
        # p(y|x) sums to 1 over y, so that summing over labels gives the sum over inputs.
        p_zy = log_p.sub_(largest).exp_() @ p_yx
        p_z = p_zy.sum(1, keepdim=True)
        p_yz = p_zy / p_z
        rates.append(log_drawn[rows] - (p_z.log() + largest).squeeze(1) + math.log(len(z)))
        # xlogy: a label of probability 0 adds 0, not NaN.
        gain = torch.special.xlogy(p_yz, p_yz) - torch.special.xlogy(p_yz, p_y)
        relevances.append(gain.sum(1))
    return torch.cat(rates), torch.cat(relevances)


def _log_densities(codes: Gaussians) -> Callable[[Tensor], Tensor]:
    """The log of p(z_i|x_j) without its constant, `[rows, n]`: a quadratic in z, one product."""
    precision = codes.scale.square().reciprocal()
    offset = -0.5 * (codes.mean.square() * precision).sum(1) - codes.scale.log().sum(1)
    weights = torch.cat([-0.5 * precision, codes.mean * precision], 1).T
    return lambda z: torch.addmm(offset, torch.cat([z.square(), z], 1), weights)


def _mean(terms: Tensor) -> tuple[float, float]:
    """Mean of `[draws, n]` and its standard error, to which only the draws contribute."""
    draws, n = terms.shape
    error = (terms.var(0).mean() / (draws * n)).sqrt()
    return terms.mean().item(), error.item()
