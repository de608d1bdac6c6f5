"""The clusters of B discrete bottlenecks at once: w = p(z) `[B, Z]` and the logits of q = p(y|z).

    p(z|x) = p(z) exp(-t d(x, z)) / L(x),   t = 1/beta
    p(z) = sum_x p(x) p(z|x),   p(y|z) = sum_x p(y|x) p(x|z)

The logits `[B, Z, Y]` are log q minus the largest of each cluster, so that q keeps its relative
precision near 0 and near 1 for every class. A decoder that excludes a class has exp(-40) there: the
error is below rounding, and the class can come back. A cluster of weight 0 is empty.

Source: Tishby, Pereira & Bialek (1999), arXiv physics/0004057. New decoders get the weight that
is best for them, as in the vertex direction method (Wu 1978, "Some Algorithmic Aspects of the
Theory of Optimal Designs").
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.information._joint import Source

__all__ = [
    "Clusters",
    "distances",
    "encode",
    "grow",
    "log_terms",
    "logits_of",
    "merge",
    "pad",
    "start",
    "trim",
    "update",
]

_EMPTY = 1e-30
_LARGEST = 40.0
_BISECTIONS = 40


class Clusters(NamedTuple):
    """p(z): `[B, Z]`, and the logits of p(y|z): `[B, Z, Y]`."""

    w: Tensor
    logits: Tensor

    @property
    def q(self) -> Tensor:
        """p(y|z): `[B, Z, Y]`."""
        return self.logits.softmax(-1)

    def take(self, rows: Tensor) -> Clusters:
        """The clusters of some of the bottlenecks."""
        return Clusters(self.w[rows], self.logits[rows])

    def put(self, rows: Tensor, others: Clusters) -> None:
        """Overwrite the clusters of some of the bottlenecks."""
        self.w[rows], self.logits[rows] = others


def start(q: Tensor, count: int) -> Clusters:
    """The same decoders `q: [Z, Y]`, of equal weight, for each of `count` bottlenecks."""
    weight = torch.full((count, len(q)), 1 / len(q)).to(q)
    return Clusters(weight, logits_of(q.log()).expand(count, -1, -1).clone())


def log_terms(source: Source, t: Tensor, clusters: Clusters) -> Tensor:
    """Log p(z) exp(-t d(x, z)): `[B, X, Z]`.

    Args:
        source: p(x) and p(y|x).
        t: `[B]`, 1/beta.
        clusters: of each bottleneck.
    """
    entropy = torch.special.xlogy(source.p_y, source.p_y).sum(1)
    of_z = clusters.w.log() - t[:, None] * clusters.logits.logsumexp(-1)
    terms = source.p_y @ (t[:, None, None] * clusters.logits).mT
    return terms.add_(of_z[:, None]).sub_((t[:, None] * entropy)[..., None])


def encode(source: Source, t: Tensor, clusters: Clusters) -> tuple[Tensor, Tensor]:
    """The encoder p(z|x) `[B, X, Z]` of the clusters, and log L(x) `[B, X]`.

    Args:
        source: p(x) and p(y|x).
        t: `[B]`, 1/beta.
        clusters: of each bottleneck.
    """
    terms = log_terms(source, t, clusters)
    log_l = terms.logsumexp(2)
    return terms.sub_(log_l[..., None]).exp_(), log_l


def update(source: Source, encoder: Tensor, clusters: Clusters) -> Clusters:
    """The clusters of an encoder; a cluster that it does not use keeps its old p(y|z).

    Args:
        source: p(x) and p(y|x).
        encoder: `[B, X, Z]`, p(z|x).
        clusters: the old ones.
    """
    joint = source.p_x[:, None] * encoder
    w = joint.sum(1)
    logits = logits_of((joint.mT @ source.p_y).log())
    return Clusters(w, torch.where(w[..., None] > _EMPTY, logits, clusters.logits))


def merge(clusters: Clusters, t: Tensor, tolerance: float) -> Clusters:
    """Empty clusters of negligible weight, and join close ones into the heaviest of them.

    Args:
        clusters: of each bottleneck.
        t: `[B]`, 1/beta. The reach of exp(-t d) is about 1 / sqrt(t).
        tolerance: Hellinger distances up to `tolerance / sqrt(t)` are close.
    """
    order = clusters.w.argsort(1, descending=True)
    w = clusters.w.gather(1, order)
    logits = clusters.logits.take_along_dim(order[..., None], 1)
    q = logits.softmax(-1)
    apart = distances(q, q)
    same = (apart <= tolerance * t.rsqrt()[:, None, None]) & (w > _EMPTY)[:, None]
    same |= torch.eye(w.shape[1], dtype=torch.bool)
    # The first, hence heaviest, of the close ones; and the one that it has itself been joined to.
    owner = same.int().argmax(2)
    owner = owner.gather(1, owner)
    w = w * (w > _EMPTY)
    total = torch.zeros_like(w).scatter_add_(1, owner, w)
    place = owner[..., None].expand_as(q)
    mean = torch.zeros_like(q).scatter_add_(1, place, w[..., None] * q)
    joined = (total > w) & (w > 0)
    logits = torch.where(joined[..., None], logits_of(mean.log()), logits)
    return Clusters(total / total.sum(1, keepdim=True), logits)


def distances(p: Tensor, q: Tensor) -> Tensor:
    """Hellinger distances, times the root of 2, of `p: [..., N, Y]` and `q: [..., M, Y]`."""
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(p.sqrt(), q.sqrt(), compute_mode=exact)


def trim(clusters: Clusters) -> Clusters:
    """Sort by weight, heaviest first, and drop places that are empty in every code."""
    order = clusters.w.argsort(1, descending=True)[:, : int((clusters.w > 0).sum(1).max())]
    return Clusters(
        clusters.w.gather(1, order), clusters.logits.take_along_dim(order[..., None], 1)
    )


def pad(clusters: Clusters, count: int) -> Clusters:
    """Add empty clusters up to `count`."""
    spare = count - clusters.w.shape[1]
    if spare <= 0:
        return clusters
    copies = clusters.logits[:, :1].expand(-1, spare, -1)
    return Clusters(F.pad(clusters.w, (0, spare)), torch.cat([clusters.logits, copies], 1))


def grow(
    source: Source, t: Tensor, clusters: Clusters, q: Tensor, worth: Tensor, most: int
) -> tuple[Clusters, Tensor]:
    """Add decoders to the clusters of each bottleneck, as far as there is room.

    Args:
        source: p(x) and p(y|x).
        t: `[B]`, 1/beta.
        clusters: to which they are added.
        q: `[B, P, Y]`, the decoders, best first.
        worth: `[B, P]` bool, which of them are worth adding.
        most: clusters that a code may have.

    Returns:
        The clusters, and whether any decoder was added, `[B]` bool.
    """
    clusters = trim(clusters)
    room = most - (clusters.w > 0).sum(1, keepdim=True)
    worth = worth & (worth.cumsum(1) <= room)
    share = worth.double() / worth.sum(1, keepdim=True).clamp_min(1)
    new = Clusters(share, logits_of(q.log()))
    part = _best_share(source, t, clusters, new)[:, None]
    w = torch.cat([clusters.w * (1 - part), new.w * part], 1)
    return trim(Clusters(w, torch.cat([clusters.logits, new.logits], 1))), worth.any(1)


def _best_share(source: Source, t: Tensor, clusters: Clusters, new: Clusters) -> Tensor:
    """The total weight of new clusters that is best while the others stay in proportion: `[B]`.

    Found by bisection. With another weight a code may become worse than before, and the next
    iterations return to the old one.
    """
    _, log_l = encode(source, t, clusters)
    ratio = log_terms(source, t, new).logsumexp(2) - log_l
    gain = torch.expm1(ratio.clamp_max(_LARGEST))
    low, high = torch.zeros_like(t), torch.ones_like(t)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        rising = (gain / (1 + middle[:, None] * gain)) @ source.p_x > 0
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    return (low + high) / 2 * (new.w.sum(1) > 0)


def logits_of(log_q: Tensor) -> Tensor:
    """Logits `[..., Y]` of decoders whose log q is known up to a constant each."""
    top = log_q.amax(-1, keepdim=True).nan_to_num(neginf=0.0)
    return (log_q - top).clamp_min(-_LARGEST)
