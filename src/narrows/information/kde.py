"""Bounds of information from the pairwise distances of Gaussian codes, in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from narrows.checks import ArrayLike
from narrows.information._checks import as_scale, labels_of
from narrows.information._pairs import (
    LOWER,
    UPPER,
    Gaussians,
    describe,
    error_samples,
    make_estimate,
    make_mixture,
    similarities,
    strips,
)
from narrows.types import Estimate

__all__ = ["kde_bounds", "kde_relevance"]


def kde_bounds(
    mean: ArrayLike, scale: ArrayLike | float, block: int = 128
) -> tuple[Estimate, Estimate]:
    """Lower and upper bound of I(X;Z), from the means and scales of p(z|x) at n samples.

        I = -1/n sum_i log 1/n sum_j exp(-D(p_i, p_j)),   p_i = p(z|x_i) = N(mean_i, diag scale_i^2)

    D = KL(p_i || p_j) gives the upper bound, the Bhattacharyya distance the lower one. With one
    scale s for all samples and a distance d of two means these are d^2 / 2s^2 and d^2 / 8s^2.

    What is bounded is the information about *which of the n samples* z came from. This is I(X;Z) if
    the samples are all the values that X can take. Otherwise it is on average at most I(X;Z), and
    never above log n: the lower bound is one of I(X;Z) too, the upper bound only where n is so
    large that the value no longer grows with n. A code without noise has infinite I(X;Z) when X is
    continuous: give the noise to add to it, and compare only numbers with the same noise.

    Source: Kolchinsky & Tracey (2017), arXiv 1706.02419. The upper bound is the compression term of
    the nonlinear information bottleneck, Kolchinsky, Tracey & Wolpert (2019), arXiv 1705.02436.

    Args:
        mean: `[n, K]`, the means of p(z|x), or a deterministic code.
        scale: `[n, K]` standard deviations; or a number, the standard deviation of Gaussian noise
            that is added to the code. It is in the units of the code: code and noise times the same
            factor change nothing, the code alone times 10 is ten times less noise.
        block: rows of the matrix of pairs held at once; changes memory and speed only. Time grows
            with n^2 K. A scale that all samples share takes one matrix product; different scales
            take about 15 times as long.

    Returns:
        `(lower, upper)` in nats, with ceiling log n. The standard errors are infinitesimal
        jackknife over about 250 samples: a sample counts by its own term and by its share in the
        sums of the others. Diagnostics: `bound`, `distance`, `noise_scale` (None if the code has a
        scale of its own), `measures` in words, `constant_columns`, and `saturated`: within 5 % of
        log n, where the bound says more about n than about the code.

    Raises:
        InputError: for NaN, wrong shapes, fewer than 2 samples, a scale that is not positive, or
            one so small against the codes that distances are lost in rounding.

    Example:
        >>> lower, upper = kde_bounds(torch.tensor([[0.0], [100.0]]), 1.0)
        >>> round(lower.bits, 6), round(upper.bits, 6), upper.diagnostics["saturated"]
        (1.0, 1.0, True)
    """
    scale = as_scale(scale)
    mixture, block = make_mixture(mean, scale, block)
    nats, influence = _information(mixture, error_samples(mixture.mean), block)
    diagnostics = describe(scale, nats[1], mixture)
    return (
        make_estimate(nats[0], influence[0], mixture, diagnostics | LOWER),
        make_estimate(nats[1], influence[1], mixture, diagnostics | UPPER),
    )


def kde_relevance(
    mean: ArrayLike, scale: ArrayLike | float, y: ArrayLike, block: int = 128
) -> tuple[Estimate, Estimate]:
    """Lower and upper bound of I(Z;Y), from the means and scales of p(z|x) and the labels.

        I(Z;Y) = I(X;Z) - sum_y p(y) I(X;Z|Y=y)

    The lower bound is the lower bound of I(X;Z) minus the upper ones within the classes, the upper
    bound the other way round. Both are valid and often wide: the lower can be negative, the upper
    above H(Y). The difference of two bounds of the same kind lies between them. It is an estimate
    without a direction, from which information planes are drawn, and is kept in the diagnostics as
    `same_distance`.

    Source: Kolchinsky & Tracey (2017), arXiv 1706.02419, for each of the terms.

    Args:
        mean: as in `kde_bounds`.
        scale: as in `kde_bounds`.
        y: `[n]` integer labels; a class with one sample has no information within.
        block: as in `kde_bounds`.

    Returns:
        `(lower, upper)` in nats, with ceilings H(Y) and log n, and the diagnostics of `kde_bounds`
        plus `same_distance` and `label_entropy`. `saturated` refers to I(X;Z).

    Raises:
        InputError: as `kde_bounds`, and for labels that are not one integer for each sample.

    Example:
        >>> code, y = torch.tensor([[0.0], [1.0], [50.0], [51.0]]), torch.tensor([0, 0, 1, 1])
        >>> lower, upper = kde_relevance(code, 1.0, y)
        >>> lower.bits < 1.0 < upper.bits
        True
    """
    scale = as_scale(scale)
    mixture, block = make_mixture(mean, scale, block)
    y = labels_of(y, mixture.mean)
    chosen = error_samples(mixture.mean)
    nats, influence = _information(mixture, chosen, block)
    within, within_influence = torch.zeros_like(nats), torch.zeros_like(influence)
    label_entropy = 0.0
    for label in y.unique():
        members = y == label
        share = members.double().mean().item()
        part = _information(mixture.take(members), chosen[members], block)
        within += share * part[0]
        within_influence[:, members[chosen]] = part[1]
        label_entropy -= share * math.log(share)
    diagnostics = describe(scale, nats[1], mixture) | {"label_entropy": label_entropy}
    same = (nats - within).tolist()
    # Flipped: each bound of the whole is combined with the opposite one within the classes.
    bounds, influence = nats - within.flip(0), influence - within_influence.flip(0)
    lower = diagnostics | LOWER | {"same_distance": same[0]}
    upper = diagnostics | UPPER | {"same_distance": same[1]}
    return (
        make_estimate(bounds[0], influence[0], mixture, lower, label_entropy),
        make_estimate(bounds[1], influence[1], mixture, upper),
    )


def _information(mixture: Gaussians, chosen: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Both bounds `[2]`, lower first, and their influence functions at the chosen: `[2, m]`."""
    n = len(mixture.mean)
    sums = _neighbours(mixture, block)
    # A sample adds the similarity of j to the sum of sample j, and so lowers the term of j.
    share = torch.zeros_like(sums[:, chosen])
    picked = mixture.take(chosen)
    for rows in strips(n, block):
        alike, towards, _ = similarities(mixture.take(rows), picked)
        share[0] += (1 / sums[0, rows]) @ alike
        share[1] += (1 / sums[1, rows]) @ towards
    terms = math.log(n) - sums.log()
    return terms.mean(1), terms[:, chosen] - share


def _neighbours(mixture: Gaussians, block: int) -> Tensor:
    """The effective number of components like each: sum_j exp(-D(i, j)), `[2, n]`, from 1 to n.

    Each sum contains the similarity of a component to itself, which is 1, so none underflows.
    """
    n = len(mixture.mean)
    sums = mixture.mean.new_zeros(2, n)
    for rows in strips(n, block):
        alike, forth, back = similarities(mixture.take(rows), mixture.take(slice(rows.start, n)))
        later = slice(rows.stop, n)
        for total, forward, backward in ((sums[0], alike, alike), (sums[1], forth, back)):
            total[rows] += forward.sum(1)
            total[later] += backward[:, block:].sum(0)
    return sums
