"""The maximum of log c(q) over the decoders of two classes, enclosed by branch and bound.

    f(a) = log sum_x m_x exp(t (p_x a - log(1 + e^a))),   a = log q / (1 - q)
    f'(a) = t (mu - q),   f''(a) = t^2 var - t q (1 - q)

mu and var are those of p_x under the terms of the sum as weights. Between two points there are two
upper bounds. First, log sum m exp(t p a) is convex and lies below its chord, and the chord minus
t log(1 + e^a) has its maximum in closed form. Second, f - K a^2 / 2 is concave and lies below its
tangents, K being an upper bound of f''. sum m (p - mu)^2 exp(t p a) and q (1 - q) take their
extremes at the ends of an interval, which bounds var and with it K.

At the decoders of an optimal code f is flat and the second bound is tight, so these are edges of
intervals, and few intervals are ever halved. All codes are enclosed at once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Enclosure", "enclose"]

_END = 40.0
_CELLS = (48, 512)
_CELLS_A_WIDTH = 4.0
_SHORTEST = 1e-13
_MOST = 2**24


class Enclosure(NamedTuple):
    """Largest value found of each of B functions `[B]`, its logit `[B]`, and a bound `[B]`."""

    logit: Tensor
    value: Tensor
    bound: Tensor


class _Points(NamedTuple):
    """Points a with the log of the sum without (1 + e^a)^-t, mean and variance of p_x."""

    a: Tensor
    log_sum: Tensor
    mean: Tensor
    var: Tensor

    def take(self, rows: Tensor) -> _Points:
        return _Points(*(part[rows] for part in self))


def enclose(p: Tensor, log_m: Tensor, t: Tensor, hints: Tensor, slack: Tensor) -> Enclosure:
    """Enclose max_a f(a).

    Args:
        p: `[X]`, p(y=1|x).
        log_m: `[B, X]`.
        t: `[B]`.
        hints: `[B, H]`, logits where a maximum is likely.
        slack: `[B]`, how far the bound may lie above the value.
    """
    start = _edges(p, t, hints)
    points = _look(p, log_m[:, None], t[:, None], start)
    height = _height(points, t[:, None])
    value, at = height.max(1)
    where = start.gather(1, at[:, None])[:, 0]
    code = torch.arange(len(t))[:, None].expand(-1, start.shape[1] - 1).flatten()
    left, right = (
        _Points(*(part[:, cut].flatten() for part in points))
        for cut in (slice(None, -1), slice(1, None))
    )
    # Beyond an end f falls, or exceeds its value there by at most t e^-40, which is rounding.
    closed = value.clone()
    while True:
        top = _bound(left, right, t[code])
        apart = (top > (value + slack)[code]) & (right.a - left.a > _SHORTEST)
        apart &= len(code) * len(p) < _MOST
        closed.scatter_reduce_(0, code[~apart], top[~apart], "amax")
        left, right, code = left.take(apart), right.take(apart), code[apart]
        if not len(code):
            return Enclosure(where, value, closed)
        middle = _look(p, log_m[code], t[code], (left.a + right.a) / 2)
        height_between = _height(middle, t[code])
        value = value.scatter_reduce(0, code, height_between, "amax")
        higher = height_between == value[code]
        where = where.index_put((code[higher],), middle.a[higher])
        left, right = (
            _Points(*(torch.cat(pair) for pair in zip(*halves, strict=True)))
            for halves in ((left, middle), (middle, right))
        )
        code = torch.cat([code, code])


def _edges(p: Tensor, t: Tensor, hints: Tensor) -> Tensor:
    """Edges of intervals, several per typical width of a peak, and the hints: `[B, E]`, rising."""
    low, high = p.min().logit().clamp(-_END, _END), p.max().logit().clamp(-_END, _END)
    ends = torch.stack([low, high]).sigmoid().sqrt().asin()
    wanted = _CELLS_A_WIDTH * (ends[1] - ends[0]).item() * t.max().sqrt().item()
    cells = min(max(int(wanted), _CELLS[0]), _CELLS[1])
    angle = ends[0] + (ends[1] - ends[0]) * torch.linspace(0, 1, cells + 1).to(p)
    grid = 2 * (angle.sin().log() - angle.cos().log())
    edges = torch.cat([grid.clamp(low, high).expand(len(t), -1), hints.clamp(low, high)], 1)
    edges[:, 0], edges[:, cells] = low, high
    return edges.sort(1).values


def _look(p: Tensor, log_m: Tensor, t: Tensor, a: Tensor) -> _Points:
    """Evaluate at `a: [...]`, with `log_m: [..., X]` and `t: [...]`."""
    terms = log_m + (t * a)[..., None] * p
    log_sum = terms.logsumexp(-1)
    share = terms.sub_(log_sum[..., None]).exp_()
    mean = share @ p
    var = share.mul_((p - mean[..., None]).square_()).sum(-1)
    return _Points(a, log_sum, mean, var)


def _softplus(a: Tensor) -> Tensor:
    """log(1 + e^a). PyTorch's own returns a from 20 on, which is off by 2e-9."""
    return F.softplus(a, threshold=2 * _END)


def _height(points: _Points, t: Tensor) -> Tensor:
    return points.log_sum - t * _softplus(points.a)


def _bound(left: _Points, right: _Points, t: Tensor) -> Tensor:
    """An upper bound of f between `left` and `right`."""
    length = right.a - left.a
    height_left, height_right = _height(left, t), _height(right, t)
    # The chord.
    slope = (right.log_sum - left.log_sum) / (t * length.clamp_min(1e-300))
    inside = slope.clamp(1e-300, 1 - 1e-16).logit()
    at = torch.minimum(torch.maximum(inside, left.a), right.a)
    chord = left.log_sum + t * (slope * (at - left.a) - _softplus(at))
    # The tangents.
    across = (left.mean - right.mean).square()
    growth = right.log_sum - left.log_sum
    var_left = torch.maximum(
        left.var, (right.var + across) * (growth - t * left.mean * length).clamp_max(50).exp()
    )
    var_right = torch.maximum(
        right.var, (left.var + across) * (t * right.mean * length - growth).clamp_max(50).exp()
    )
    spread_left, spread_right = (part.a.sigmoid() * (-part.a).sigmoid() for part in (left, right))
    bend = t * (t * torch.minimum(var_left, var_right) - torch.minimum(spread_left, spread_right))
    lift = bend.clamp_min(0) * length / 2
    rise_left = t * (left.mean - left.a.sigmoid()) + lift
    rise_right = t * (right.mean - right.a.sigmoid()) - lift
    meet = (height_right - height_left - rise_right * length) / (rise_left - rise_right)
    tangent = torch.where(rise_right >= 0, height_right, height_left + rise_left * meet)
    return torch.minimum(chord, torch.where(rise_left <= 0, height_left, tangent))
