"""The clusters of B discrete bottlenecks at once: w = p(z) `[B, Z]` and the logits of q = p(y|z).

    p(z|x) = p(z) exp(-t d(x, z)) / L(x),   t = 1/beta
    p(z) = sum_x p(x) p(z|x),   p(y|z) = sum_x p(y|x) p(x|z)

The logits `[B, Z, Y - 1]` are those against the first class, so that q keeps its relative precision
near 0 and near 1. A cluster of weight 0 is empty.

Source: Tishby, Pereira & Bialek (1999), arXiv physics/0004057. A new decoder gets the weight that
is best for it, as in the vertex direction method (Wu 1978, "Some Algorithmic Aspects of the Theory
of Optimal Designs").
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from narrows.information._joint import Source

__all__ = ["Clusters", "encode", "grow", "log_terms", "merge", "pad", "start", "trim", "update"]

_EMPTY = 1e-14
_LARGEST = 40.0
_BISECTIONS = 40


class Clusters(NamedTuple):
    """p(z): `[B, Z]`, and the logits of p(y|z): `[B, Z, Y - 1]`."""

    w: Tensor
    logits: Tensor

    @property
    def q(self) -> Tensor:
        """p(y|z): `[B, Z, Y]`."""
        return torch.cat([torch.zeros_like(self.logits[..., :1]), self.logits], -1).softmax(-1)

    def take(self, rows: Tensor) -> Clusters:
        """The clusters of some of the bottlenecks."""
        return Clusters(self.w[rows], self.logits[rows])

    def put(self, rows: Tensor, others: Clusters) -> None:
        """Overwrite the clusters of some of the bottlenecks."""
        self.w[rows], self.logits[rows] = others


def start(q: Tensor, count: int) -> Clusters:
    """The same decoders `q: [Z, Y]`, of equal weight, for each of `count` bottlenecks."""
    weight = torch.full((count, len(q)), 1 / len(q)).to(q)
    return Clusters(weight, _logits(q).expand(count, -1, -1).clone())


def log_terms(source: Source, t: Tensor, clusters: Clusters) -> Tensor:
    """Log p(z) exp(-t d(x, z)): `[B, X, Z]`, for `t: [B]`."""
    logits = clusters.logits
    log_sum = torch.cat([torch.zeros_like(logits[..., :1]), logits], -1).logsumexp(-1)
    entropy = torch.special.xlogy(source.p_y, source.p_y).sum(1)
    d = (log_sum[:, None] + entropy[:, None]).sub_(source.p_y[:, 1:] @ logits.mT)
    return d.mul_(-t[:, None, None]).add_(clusters.w.log()[:, None])


def encode(source: Source, t: Tensor, clusters: Clusters) -> tuple[Tensor, Tensor]:
    """p(z|x) `[B, X, Z]` and log L(x) `[B, X]`."""
    terms = log_terms(source, t, clusters)
    log_l = terms.logsumexp(2)
    return terms.sub_(log_l[..., None]).exp_(), log_l


def update(source: Source, encoder: Tensor, clusters: Clusters) -> Clusters:
    """The clusters of an encoder; one that it does not use keeps its old p(y|z)."""
    joint = source.p_x[:, None] * encoder
    w = joint.sum(1)
    q = (joint.mT @ source.p_y) / w.clamp_min(1e-300)[..., None]
    logits = torch.where(w[..., None] > _EMPTY, _logits(q), clusters.logits)
    return Clusters(w, logits)


def merge(clusters: Clusters, t: Tensor, tolerance: float) -> Clusters:
    """Empty those of next to no weight, join those close to each other, heaviest first.

    Close is what no more than `tolerance / sqrt(t)` of Hellinger's distance separates; exp(-t d)
    reaches about 1 / sqrt(t).
    """
    order = clusters.w.argsort(1, descending=True)
    w = clusters.w.gather(1, order)
    logits = clusters.logits.gather(1, order[..., None].expand_as(clusters.logits))
    roots = Clusters(w, logits).q.sqrt()
    apart = (roots[:, :, None] - roots[:, None]).square().sum(3)
    same = (apart * t[:, None, None] <= tolerance**2) & (w > _EMPTY)[:, None]
    same |= torch.eye(w.shape[1], dtype=torch.bool)
    # The first, hence heaviest, of those alike; and the one which that has joined, if it has.
    owner = same.int().argmax(2)
    owner = owner.gather(1, owner)
    w = w * (w > _EMPTY)
    total = torch.zeros_like(w).scatter_add_(1, owner, w)
    place = owner[..., None].expand_as(logits)
    mean = torch.zeros_like(logits).scatter_add_(1, place, w[..., None] * logits)
    mean = torch.where(total[..., None] > 0, mean / total[..., None], logits)
    return Clusters(total / total.sum(1, keepdim=True), mean)


def trim(clusters: Clusters) -> Clusters:
    """Heaviest first, and as many as the code with the most clusters uses."""
    order = clusters.w.argsort(1, descending=True)[:, : int((clusters.w > 0).sum(1).max())]
    places = order[..., None].expand(-1, -1, clusters.logits.shape[2])
    return Clusters(clusters.w.gather(1, order), clusters.logits.gather(1, places))


def pad(clusters: Clusters, count: int) -> Clusters:
    """Add empty clusters up to `count`."""
    spare = count - clusters.w.shape[1]
    w = torch.nn.functional.pad(clusters.w, (0, spare))
    copies = clusters.logits[:, :1].expand(-1, spare, -1)
    return Clusters(w, torch.cat([clusters.logits, copies], 1))


def grow(source: Source, t: Tensor, clusters: Clusters, q: Tensor) -> tuple[Clusters, Tensor]:
    """Put decoders `q: [B, Y]` into empty places, and for which there was one: `[B]` bool."""
    empty, place = (clusters.w <= 0).max(1)
    share = _best_share(source, t, clusters, q)
    share = torch.where(empty, share, 0)
    w = clusters.w * (1 - share[:, None])
    w = w.scatter_add(1, place[:, None], share[:, None])
    logits = clusters.logits.clone()
    rows = empty.nonzero()[:, 0]
    logits[rows, place[rows]] = _logits(q[rows])
    return Clusters(w, logits), empty


def _best_share(source: Source, t: Tensor, clusters: Clusters, q: Tensor) -> Tensor:
    """The weights of new decoders that are best for the others as they are, by bisection: `[B]`.

    With another weight a code may be worse than before, and fall back to where it was.
    """
    _, log_l = encode(source, t, clusters)
    alone = Clusters(torch.ones_like(t)[:, None], _logits(q)[:, None])
    gain = torch.expm1(log_terms(source, t, alone)[..., 0] - log_l)
    low, high = torch.zeros_like(t), torch.ones_like(t)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        rising = (gain / (1 + middle[:, None] * gain)) @ source.p_x > 0
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    return (low + high) / 2


def _logits(q: Tensor) -> Tensor:
    log_q = q.clamp_min(1e-300).log()
    return (log_q[..., 1:] - log_q[..., :1]).clamp(-_LARGEST, _LARGEST)
