"""The clusters of a discrete bottleneck, `[Z, 1 + Y]`: p(z) in the first column, then p(y|z).

    p(z|x) = p(z) exp(-t d(x, z)) / L(x),   t = 1/beta
    p(z) = sum_x p(x) p(z|x),   p(y|z) = sum_x p(y|x) p(x|z)

Source: Tishby, Pereira & Bialek (1999), arXiv physics/0004057. A new decoder gets the weight that
is best for it, as in the vertex direction method (Wu 1978, "Some Algorithmic Aspects of the Theory
of Optimal Designs").
"""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.information._certificate import divergences
from narrows.information._joint import Source

__all__ = ["decode", "encode", "grow"]

_SAME_CLUSTER = 1e-4
_EMPTY = 1e-12
_TINY = 1e-300
_BISECTIONS = 50


def encode(source: Source, t: Tensor, clusters: Tensor) -> tuple[Tensor, Tensor]:
    """p(z|x) `[X, Z]` and log L(x) `[X]`."""
    log_joint = clusters[:, 0].log() - t * divergences(source.p_y, clusters[:, 1:])
    log_l = log_joint.logsumexp(1)
    return (log_joint - log_l[:, None]).exp(), log_l


def decode(source: Source, encoder: Tensor, clusters: Tensor) -> Tensor:
    """The clusters of an encoder; one that it does not use keeps its old p(y|z)."""
    p_xz = source.p_x[:, None] * encoder
    p_z = p_xz.sum(0)[:, None]
    q = torch.where(p_z > 0, p_xz.T @ source.p_y / p_z.clamp_min(_TINY), clusters[:, 1:])
    return torch.cat([p_z, q], 1)


def grow(source: Source, t: Tensor, clusters: Tensor, q: Tensor) -> Tensor | None:
    """Put `q` in the place of a cluster that is empty or duplicates another; None if none is."""
    count, old = len(clusters), clusters[:, 1:]
    distance = (old[:, None] - old).abs().amax(2) + torch.eye(count).to(q)
    distance[clusters[:, 0] < _EMPTY] = 0
    spare, kept = divmod(int(distance.argmin()), count)
    if distance[spare, kept] > _SAME_CLUSTER:
        return None
    share = _best_share(source, t, clusters, q)
    grown = clusters.clone()
    grown[kept, 0] += clusters[spare, 0]
    grown[spare, 0] = 0
    grown[:, 0] *= 1 - share
    grown[spare] = torch.cat([share[None], q])
    return grown


def _best_share(source: Source, t: Tensor, clusters: Tensor, q: Tensor) -> Tensor:
    """The weight of a new decoder that is best for the others as they are, by bisection.

    With another weight the code may be worse than before, and fall back to where it was.
    """
    _, log_l = encode(source, t, clusters)
    gain = torch.expm1(-t * divergences(source.p_y, q[None])[:, 0] - log_l)
    low, high = torch.zeros_like(t), torch.ones_like(t)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        rising = source.p_x @ (gain / (1 + middle * gain)) > 0
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    return (low + high) / 2
