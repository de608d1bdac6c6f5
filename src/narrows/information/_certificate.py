"""How far encoders can be from the best ones: upper bounds of max_q c(q) over all decoders q.

    c(q) = sum_x p(x) exp(-t d(x, q)) / L(x),   d(x, q) = KL(p(y|x) || q),   t = 1/beta
    L(x) = sum_z p(z) exp(-t d(x, q_z))

At a fixed beta the discrete bottleneck is a rate-distortion problem whose reproductions are all
distributions q of Y. For any lambda(x) > 0 with sum_x p(x) lambda(x) exp(-t d(x, q)) <= 1 for every
q, no encoder has I(X;Z) + t E d below sum_x p(x) log lambda(x) (Berger 1971, "Rate Distortion
Theory", section 2.5). lambda = 1 / (L max_q c) is such a function. The encoder p(z) exp(-t d) / L
has at most -sum_x p(x) log L(x), so it is within log max_q c(q) of the optimum, however many
clusters that has. In units of beta I(X;Z) - I(Z;Y) the gap is beta times as large.

For two classes q is one number, and the maximum is enclosed (`_enclose.py`). For more classes it is
searched for by ascent from many starts, so the result can be too small. The first steps are those
of expectation-maximisation, which never decrease c but are slow where c is flat, as it is near a
phase transition; the best points are then improved by Newton's method in the logits of q.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from narrows.information._clusters import distances
from narrows.information._curvature import positive
from narrows.information._enclose import enclose
from narrows.information._joint import Source

__all__ = ["Peaks", "divergences", "highest"]

_TINY = 1e-300
_LEAST_STARTS, _TABLE = 64, 2**18
_CLIMBS, _STEPS = 100, 40
# Maxima nearer to each other than this, in units of the reach of exp(-t d), count as one.
_SAME_HILL = 0.1
_MOST_HILLS = 16
_LONGEST = 3.0


class Peaks(NamedTuple):
    """High points of log c of each of B codes, the highest first.

    Attributes:
        q: `[B, P, Y]`, where they are.
        log_value: `[B, P]`, their heights.
        log_bound: `[B]`, an upper bound of log c over all q.
        certified: whether the bounds are proven.
    """

    q: Tensor
    log_value: Tensor
    log_bound: Tensor
    certified: bool


def divergences(p: Tensor, q: Tensor) -> Tensor:
    """KL(p_x || q_z) in nats for `p: [..., X, Y]` and `q: [..., Z, Y]`: `[..., X, Z]`."""
    negative_entropy = torch.special.xlogy(p, p).sum(-1, keepdim=True)
    return negative_entropy - p @ q.clamp_min(_TINY).log().mT


def highest(source: Source, log_l: Tensor, t: Tensor, q: Tensor, slack: float) -> Peaks:
    """Highest points of log c over all decoders, for B codes at once.

    Args:
        source: p(x) and p(y|x).
        log_l: `[B, X]`, log L(x).
        t: `[B]`, 1/beta.
        q: `[B, Z, Y]`, decoders where a maximum is likely.
        slack: how far a bound may lie above the value, as a multiple of t.
    """
    log_weight = source.p_x.log() - log_l
    if source.p_y.shape[1] > 2:
        return _climb(source.p_y, log_weight, t, q)
    log_m = log_weight - t[:, None] * torch.special.xlogy(source.p_y, source.p_y).sum(1)
    top = enclose(source.p_y[:, 1], log_m, t, q[..., 1].logit(), slack * t)
    where = torch.stack([(-top.logit).sigmoid(), top.logit.sigmoid()], 1)
    return Peaks(where[:, None], top.value[:, None], top.bound, True)


def _climb(p_y: Tensor, log_weight: Tensor, t: Tensor, q: Tensor) -> Peaks:
    """Ascent from the rows of p(y|x) and from the decoders; no step decreases c.

    A step of expectation-maximisation is the mean of the rows, weighted by the terms of c.
    """

    def log_terms(points: Tensor) -> Tensor:
        return log_weight[..., None] - t[:, None, None] * divergences(p_y, points)

    points = torch.cat([p_y.expand(len(t), -1, -1), q], 1)
    starts = max(_LEAST_STARTS, _TABLE // len(p_y))
    if starts < points.shape[1]:
        likeliest = log_terms(points).logsumexp(1).topk(starts).indices
        points = points.take_along_dim(likeliest[..., None], 1)
    for _ in range(_CLIMBS):
        points = log_terms(points).softmax(1).mT @ p_y
    points = _hills(points, log_terms(points).logsumexp(1), t)
    value = log_terms(points).logsumexp(1)
    for _ in range(_STEPS):
        candidate = _newton(p_y, log_terms(points).softmax(1).mT, t, points)
        rises = log_terms(candidate).logsumexp(1) > value
        if not rises.any():
            break
        points = torch.where(rises[..., None], candidate, log_terms(points).softmax(1).mT @ p_y)
        value = log_terms(points).logsumexp(1)
    value, order = value.sort(1, descending=True)
    points = points.take_along_dim(order[..., None], 1)
    return Peaks(points, value, value[:, 0], False)


def _hills(points: Tensor, value: Tensor, t: Tensor) -> Tensor:
    """Those of the points that have no higher one near them, the highest first: `[B, P, Y]`."""
    order = value.argsort(1, descending=True)
    points = points.take_along_dim(order[..., None], 1)
    near = distances(points, points) <= _SAME_HILL * t.rsqrt()[:, None, None]
    alone = ~near.tril(-1).any(2)
    # The isolated points first, each group in its order.
    best = alone.int().argsort(dim=1, descending=True, stable=True)[:, :_MOST_HILLS]
    return points.take_along_dim(best[..., None], 1)


def _newton(p_y: Tensor, share: Tensor, t: Tensor, q: Tensor) -> Tensor:
    """One Newton step from decoders `q: [B, S, Y]`, uphill whatever the sign of the curvature.

    In the logits of q, log c has the gradient t (m - q) and the curvature t^2 Cov - t (diag q -
    q q'), m and Cov the mean and covariance of the rows under the shares `[B, S, X]` of c's terms.
    """
    mean = share @ p_y
    square = (share @ (p_y[:, :, None] * p_y[:, None]).flatten(1)).unflatten(2, p_y.shape[1:] * 2)
    t = t[:, None].expand(q.shape[:2])
    cov = square - mean[..., None] * mean[..., None, :]
    factor, scale = positive(q, cov, t)
    gradient = t[..., None] * (mean - q)
    along = factor.mT @ (scale * gradient)[..., None]
    step = scale * (factor @ along)[..., 0]
    step = step * (_LONGEST / step.abs().amax(-1, keepdim=True).clamp_min(_LONGEST))
    return (q.clamp_min(_TINY).log() + step).softmax(-1)
