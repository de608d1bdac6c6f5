"""How far encoders can be from the best ones: upper bounds of max_q c(q) over all decoders q.

    c(q) = sum_x p(x) exp(-t d(x, q)) / L(x),   d(x, q) = KL(p(y|x) || q),   t = 1/beta
    L(x) = sum_z p(z) exp(-t d(x, q_z))

At a fixed beta the discrete bottleneck is a rate-distortion problem whose reproductions are all
distributions q of Y. For any lambda(x) > 0 with sum_x p(x) lambda(x) exp(-t d(x, q)) <= 1 for every
q, no encoder has I(X;Z) + t E d below sum_x p(x) log lambda(x) (Berger 1971, "Rate Distortion
Theory", section 2.5). lambda = 1 / (L max_q c) is such a function. The encoder p(z) exp(-t d) / L
has at most -sum_x p(x) log L(x), so it is within log max_q c(q) of the optimum, however many
clusters that has. In units of beta I(X;Z) - I(Z;Y) the gap is beta times as large.

For two classes q is one number and the maximum is enclosed (`_enclose.py`). For more it is only
searched for, uphill from many starts: the result can then be too small. The steps are those of
expectation-maximisation, which never fall and are slow where the hill is flat, as it is near a
phase transition; there Newton's, in the logits of q, go on with the best.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from narrows.information._enclose import enclose
from narrows.information._joint import Source

__all__ = ["Peaks", "divergences", "highest"]

_TINY = 1e-300
_STARTS, _BEST = 64, 8
_CLIMBS, _STEPS = 100, 40
_FLAT = 1e-12
_LONGEST = 3.0


class Peaks(NamedTuple):
    """The largest log c(q) of each of B codes: where `[B, Y]`, the value `[B]` and a bound `[B]`.

    `certified` if the bounds are proven.
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
    found = enclose(source.p_y[:, 1], log_m, t, q[..., 1].logit(), slack * t)
    where = torch.stack([(-found.logit).sigmoid(), found.logit.sigmoid()], 1)
    return Peaks(where, found.value, found.bound, True)


def _climb(p_y: Tensor, log_weight: Tensor, t: Tensor, q: Tensor) -> Peaks:
    """Ascent from the best rows of p(y|x) and the decoders; no step lowers c.

    The step is that of expectation-maximisation: c's terms, normalised, weight the rows.
    """

    def log_terms(points: Tensor) -> Tensor:
        return log_weight[..., None] - t[:, None, None] * divergences(p_y, points)

    def choose(points: Tensor, count: int) -> Tensor:
        best = log_terms(points).logsumexp(1).topk(min(count, points.shape[1])).indices
        return points.gather(1, best[..., None].expand(-1, -1, p_y.shape[1]))

    points = choose(torch.cat([p_y.expand(len(t), -1, -1), q], 1), _STARTS)
    for _ in range(_CLIMBS):
        points = log_terms(points).softmax(1).mT @ p_y
    points = choose(points, _BEST)
    value = log_terms(points).logsumexp(1)
    for _ in range(_STEPS):
        there = _newton(p_y, log_terms(points).softmax(1).mT, t, points)
        height = log_terms(there).logsumexp(1)
        rises = height > value
        if not rises.any():
            break
        points = torch.where(rises[..., None], there, log_terms(points).softmax(1).mT @ p_y)
        value = log_terms(points).logsumexp(1)
    value, at = value.max(1)
    return Peaks(points[torch.arange(len(t)), at], value, value, False)


def _newton(p_y: Tensor, share: Tensor, t: Tensor, q: Tensor) -> Tensor:
    """One step of Newton's from decoders `q: [B, S, Y]`, uphill also where the curvature is wrong.

    In the logits of q, log c has the gradient t (m - q) and the curvature t^2 Cov - t (diag q -
    q q'), m and Cov the mean and covariance of the rows under the shares `[B, S, X]` of c's terms.
    """
    t = t[:, None, None]
    mean = share @ p_y
    square = (share @ (p_y[:, :, None] * p_y[:, None]).flatten(1)).unflatten(2, p_y.shape[1:] * 2)
    spread = square - mean[..., None] * mean[..., None, :]
    own = torch.diag_embed(q) - q[..., None] * q[..., None, :]
    values, vectors = torch.linalg.eigh(own - t[..., None] * spread)
    along = (vectors.mT @ (mean - q)[..., None]) / values.abs().clamp_min(_FLAT)[..., None]
    step = (vectors @ along)[..., 0]
    step = step * (_LONGEST / step.abs().amax(-1, keepdim=True).clamp_min(_LONGEST))
    return (q.clamp_min(_TINY).log() + step).softmax(-1)
