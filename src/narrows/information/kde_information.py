"""The pairwise bounds of I(X;Z) and I(Z;Y) together, from one pass over the pairs of codes."""

from __future__ import annotations

import math
from typing import NamedTuple

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
from narrows.information._single import fits_single, single_similarities
from narrows.models.precision import full_precision
from narrows.types import Estimate

__all__ = ["KDEInformation", "kde_information"]


class KDEInformation(NamedTuple):
    """Lower and upper bounds of both axes of an information plane; see `kde_information`."""

    rate_lower: Estimate
    rate_upper: Estimate
    relevance_lower: Estimate
    relevance_upper: Estimate


def kde_information(
    mean: ArrayLike, scale: ArrayLike | float, y: ArrayLike, block: int = 128
) -> KDEInformation:
    """`kde_bounds` and `kde_relevance` of the same codes in one pass, several times faster.

        I(X;Z) = -1/n sum_i log 1/n sum_j exp(-D(p_i, p_j)),   I(Z;Y) = I(X;Z) - I(X;Z|Y)

    I(X;Z|Y) needs the same distances, summed over the samples of one class. So each pair is
    computed once for both axes, and for both of its orders. Similarities are computed in float32
    where the scales of the codes allow it: the results are within 1e-4 nats of those of
    `kde_bounds` and `kde_relevance`, which compute in float64.

    Source: Kolchinsky & Tracey (2017), arXiv 1706.02419.

    Args:
        mean: as in `kde_bounds`.
        scale: as in `kde_bounds`.
        y: `[n]` integer labels.
        block: as in `kde_bounds`.

    Returns:
        The estimates of `kde_bounds` and of `kde_relevance`, with their diagnostics.

    Raises:
        InputError: as `kde_relevance`.

    Example:
        >>> code, y = torch.tensor([[0.0], [1.0], [50.0], [51.0]]), torch.tensor([0, 0, 1, 1])
        >>> bounds = kde_information(code, 1.0, y)
        >>> bounds.relevance_lower.bits < 1.0 < bounds.relevance_upper.bits
        True
    """
    scale = as_scale(scale)
    mixture, block = make_mixture(mean, scale, block)
    y = labels_of(y, mixture.mean)
    with full_precision(mixture.mean.device):
        return _information(mixture, scale, y, block)


def _information(
    mixture: Gaussians, scale: Tensor | float, y: Tensor, block: int
) -> KDEInformation:
    counts = y.unique(return_inverse=True, return_counts=True)
    # Sorted, so that the samples of a class are neighbours and their pairs lie in few columns.
    order = counts[1].argsort(stable=True)
    pairs = _Pairs(mixture.take(order), counts[1][order], block)
    chosen = error_samples(mixture.mean)[order].nonzero().squeeze(1)
    whole, within = pairs.sums()
    whole_share, within_share = pairs.shares(whole, within, chosen)
    class_sizes = counts[2][pairs.labels].double()
    terms = math.log(len(y)) - whole.log()
    inside = class_sizes.log() - within.log()
    influence = terms[:, chosen] - whole_share
    inside_influence = inside[:, chosen] - within_share
    rate, conditional = terms.mean(1), inside.mean(1)
    shares = counts[2].double() / len(y)
    entropy = -(shares * shares.log()).sum().item()
    plain = describe(scale, rate[1], mixture)
    labelled = plain | {"label_entropy": entropy}
    same = (rate - conditional).tolist()
    # Flipped: each bound of the whole is combined with the opposite one within the classes.
    relevance, difference = rate - conditional.flip(0), influence - inside_influence.flip(0)
    lower, upper = ({"same_distance": value} for value in same)
    return KDEInformation(
        make_estimate(rate[0], influence[0], mixture, plain | LOWER),
        make_estimate(rate[1], influence[1], mixture, plain | UPPER),
        make_estimate(relevance[0], difference[0], mixture, labelled | LOWER | lower, entropy),
        make_estimate(relevance[1], difference[1], mixture, labelled | UPPER | upper),
    )


class _Pairs:
    """The pairs of samples that are sorted by their class.

    Args:
        mixture: of `n` Gaussians.
        labels: `[n]`, rising.
        block: rows of the matrix of pairs that are held at once.
    """

    def __init__(self, mixture: Gaussians, labels: Tensor, block: int) -> None:
        self.mixture, self.labels, self.block = mixture, labels, block
        self._similarities = similarities
        if fits_single(mixture):
            self.mixture = mixture._replace(mean=mixture.mean.float(), scale=mixture.scale.float())
            self._similarities = single_similarities

    def sums(self) -> tuple[Tensor, Tensor]:
        """The similarities of each sample to all, and to those of its class: each `[2, n]`.

        Bhattacharyya first, then Kullback-Leibler. The similarity to itself, 1, is part of both.
        """
        n = len(self.labels)
        whole, within = self.labels.new_zeros(2, 2, n, dtype=torch.float64)
        for rows in strips(n, self.block):
            alike, forth, back = self._similarities(
                self.mixture.take(rows), self.mixture.take(slice(rows.start, n))
            )
            _add(whole, rows, (alike, forth), (alike, back))
            stop = int(torch.searchsorted(self.labels, self.labels[rows.stop - 1], right=True))
            alike, forth, back = (part[:, : stop - rows.start] for part in (alike, forth, back))
            if self.labels[rows.start] != self.labels[rows.stop - 1]:
                same = self.labels[rows, None] == self.labels[rows.start : stop]
                alike, forth, back = (part * same for part in (alike, forth, back))
            _add(within, rows, (alike, forth), (alike, back))
        return whole, within

    def shares(self, whole: Tensor, within: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """How far the chosen samples lower the terms of the others, through their sums: `[2, m]`.

        Args:
            whole: `[2, n]`, the first result of `sums`.
            within: `[2, n]`, the second one.
            chosen: `[m]` numbers of samples.
        """
        picked, labels = self.mixture.take(chosen), self.labels[chosen]
        kind = self.mixture.mean.dtype
        outer, inner = whole.reciprocal().to(kind), within.reciprocal().to(kind)
        totals = whole.new_zeros(2, 2, len(chosen))
        for rows in strips(len(self.labels), self.block):
            alike, towards, _ = self._similarities(self.mixture.take(rows), picked)
            same = self.labels[rows, None] == labels
            for kind_of_bound, similarity in enumerate((alike, towards)):
                totals[0, kind_of_bound] += outer[kind_of_bound, rows] @ similarity
                totals[1, kind_of_bound] += inner[kind_of_bound, rows] @ (similarity * same)
        return totals[0], totals[1]


def _add(
    sums: Tensor, rows: slice, forward: tuple[Tensor, ...], backward: tuple[Tensor, ...]
) -> None:
    """Add the similarities of a strip of rows to the columns from its first one on."""
    size = rows.stop - rows.start
    for total, forth, back in zip(sums, forward, backward, strict=True):
        total[rows] += forth.sum(1)
        total[rows.stop : rows.start + back.shape[1]] += back[:, size:].sum(0)
