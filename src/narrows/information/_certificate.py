"""How far an encoder can be from the best one: an upper bound of max_q c(q) over all decoders q.

    c(q) = sum_x p(x) exp(-t d(x, q)) / L(x),   d(x, q) = KL(p(y|x) || q),   t = 1/beta
    L(x) = sum_z p(z) exp(-t d(x, q_z))

At a fixed beta the discrete bottleneck is a rate-distortion problem whose reproductions are all
distributions q of Y. For any lambda(x) > 0 with sum_x p(x) lambda(x) exp(-t d(x, q)) <= 1 for every
q, no encoder has I(X;Z) + t E d below sum_x p(x) log lambda(x) (Berger 1971, "Rate Distortion
Theory", section 2.5). lambda = 1 / (L max_q c) is such a function. The encoder p(z) exp(-t d) / L
has at most -sum_x p(x) log L(x), so it is within log max_q c(q) of the optimum, however many
clusters that has. In units of beta I(X;Z) - I(Z;Y) the gap is beta times as large.

For two classes q is one number and the maximum is enclosed. Each log-term is concave in q, so its
tangent at the middle of an interval lies above it; a sum of exponentials of lines is convex and
largest at an end. Intervals whose bound beats the best value found are halved. For more classes the
maximum is only searched for, uphill from many starts: the result can then be too small.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Peak", "divergences", "highest"]

_TINY = 1e-300
_CELLS = 256
_MOST_CELLS = 2**17
_STARTS = 64
_CLIMBS = 200


class Peak(NamedTuple):
    """The largest log c(q) found, where, and a bound on it; `certified` if the bound is proven."""

    q: Tensor
    log_value: float
    log_bound: float
    certified: bool


def divergences(p: Tensor, q: Tensor) -> Tensor:
    """KL(p_x || q_z) in nats for `p: [..., X, Y]` and `q: [..., Z, Y]`: `[..., X, Z]`."""
    negative_entropy = torch.special.xlogy(p, p).sum(-1, keepdim=True)
    return negative_entropy - p @ q.clamp_min(_TINY).log().mT


def highest(p_y: Tensor, log_weight: Tensor, t: float, q: Tensor, slack: float) -> Peak:
    """Highest point of log c over all decoders.

    Args:
        p_y: `[X, Y]`, p(y|x).
        log_weight: `[X]`, log p(x) - log L(x).
        t: 1/beta.
        q: `[Z, Y]`, decoders to start a search from.
        slack: how far the bound may lie above the value.
    """
    if p_y.shape[1] == 2:
        return _enclose(p_y[:, 1], log_weight, t, slack)
    return _climb(p_y, log_weight, t, q)


def _enclose(p1: Tensor, log_weight: Tensor, t: float, slack: float) -> Peak:
    """Branch and bound over q(y=1) in [0, 1]."""
    p_y = torch.stack([1 - p1, p1], 1)
    edges = torch.linspace(0, 1, _CELLS + 1).to(p1)
    low, high = edges[:-1], edges[1:]
    best, where = -torch.inf, p1.new_zeros(())
    while True:
        middle, half = (low + high) / 2, (high - low) / 2
        terms = log_weight[:, None] - t * divergences(p_y, torch.stack([1 - middle, middle], 1))
        value, at = terms.logsumexp(0).max(0)
        if value > best:
            best, where = value.item(), middle[at]
        slope = t * (p1[:, None] - middle) / (middle * (1 - middle))
        ends = [(terms + sign * half * slope).logsumexp(0) for sign in (-1, 1)]
        bound = torch.maximum(*ends)
        open_cells = bound > best + slack
        cells = 2 * int(open_cells.sum())
        if cells == 0 or cells * len(p1) > _MOST_CELLS * 64 or half.min() < 1e-15:
            top = max(best + slack, bound.max().item())
            return Peak(torch.stack([1 - where, where]), best, top, True)
        low, middle, high = low[open_cells], middle[open_cells], high[open_cells]
        low, high = torch.cat([low, middle]), torch.cat([middle, high])


def _climb(p_y: Tensor, log_weight: Tensor, t: float, q: Tensor) -> Peak:
    """Ascent from the best rows of p(y|x) and the decoders; no step lowers c.

    The step is that of expectation-maximisation: c's terms, normalised, weight the rows.
    """
    starts = torch.cat([p_y, q])
    height = (log_weight[:, None] - t * divergences(p_y, starts)).logsumexp(0)
    points = starts[height.topk(min(_STARTS, len(starts))).indices]
    for _ in range(_CLIMBS):
        terms = log_weight[:, None] - t * divergences(p_y, points)
        points = terms.softmax(0).T @ p_y
    height = (log_weight[:, None] - t * divergences(p_y, points)).logsumexp(0)
    value, at = height.max(0)
    return Peak(points[at], value.item(), value.item(), False)
