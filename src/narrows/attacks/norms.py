"""Geometry of the threat models: sizes, steepest directions, projections, random starts.

    linf   max_i |d_i|            l1   sum_i |d_i|
    l2     (sum_i d_i^2)^(1/2)    l0   number of pixels i with d_i != 0

The first axis is always the batch, and all others belong to one image. Of images `[n, C, H, W]` a
pixel of L0 has all C channels; of other shapes each number is a pixel.
"""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from narrows.types import Norm

__all__ = [
    "NORMS",
    "ORDER",
    "ascent",
    "clip",
    "dual_size",
    "exact",
    "farthest",
    "per_image",
    "pixels",
    "project",
    "random_start",
    "rise_left",
    "size",
    "sparse",
    "steepest",
]

NORMS: tuple[Norm, ...] = get_args(Norm)
ORDER: dict[Norm, float] = {"linf": math.inf, "l2": 2.0, "l1": 1.0, "l0": 0.0}
"""The p of each norm, as `torch.cdist` takes it; there each number is a pixel of L0."""

_SHARE = 0.01  # of all values, which a step of PGD in L1 changes
_IMAGE = 4  # axes of a batch of images with channels


def exact(dtype: torch.dtype) -> torch.dtype:
    """The type to compute in with numbers of `dtype`: float32 at least."""
    return torch.promote_types(dtype, torch.float32)


def per_image(value: Tensor, like: Tensor) -> Tensor:
    """View one number per image, `[n]`, so that it broadcasts against `like: [n, ...]`."""
    return value.view(-1, *(1,) * (like.dim() - 1))


def size(delta: Tensor, norm: Norm) -> Tensor:
    """Norm of each image's perturbation: `[n, ...] -> [n]`, in float32 at least."""
    if norm == "l0":
        return pixels(delta != 0).sum(1).to(exact(delta.dtype))
    flat = delta.flatten(1).to(exact(delta.dtype))
    if norm == "linf":
        return flat.abs().amax(1)
    return flat.norm(dim=1) if norm == "l2" else flat.abs().sum(1)


def pixels(changed: Tensor) -> Tensor:
    """Which pixels a perturbation has changed: `[n, ...] -> [n, P]` bool, any of their channels."""
    return (changed.any(1) if changed.dim() == _IMAGE else changed).flatten(1)


def farthest(x: Tensor, norm: Norm) -> float:
    """The largest distance between two images of the shape of `x: [n, ...]` in [0, 1]."""
    if norm == "l0":
        return float(x[0].numel() // (x.shape[1] if x.dim() == _IMAGE else 1))
    return {"linf": 1.0, "l2": math.sqrt(x[0].numel())}.get(norm, float(x[0].numel()))


def dual_size(gradient: Tensor, norm: Norm) -> Tensor:
    """Fastest rise of a linear function per unit of `norm`: L1 size for Linf, L2 for L2, and so on.

    L0 has none: there a pixel may change by any amount.
    """
    if norm == "linf":
        return gradient.flatten(1).abs().sum(1)
    if norm == "l1":
        return size(gradient, "linf")
    scaled, peak = _scaled(gradient)
    return size(scaled, "l2") * peak


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Direction of size one in `norm` along which a linear function rises fastest.

    Where the gradient is exactly zero so is the direction. With L1 it is the single value with the
    largest entry.
    """
    if norm == "linf":
        return gradient.sign()
    if norm == "l1":
        flat = gradient.flatten(1)
        place = flat.abs().argmax(1, keepdim=True)
        only = torch.zeros_like(flat).scatter(1, place, flat.gather(1, place).sign())
        return only.view_as(gradient)
    scaled, _ = _scaled(gradient)
    length = per_image(size(scaled, "l2"), gradient).clamp_min(_tiny(gradient))
    return (scaled / length).to(gradient.dtype)


def sparse(gradient: Tensor, x: Tensor, count: Tensor) -> Tensor:
    """The signs of the `count: [n]` largest entries, as a direction of L1 size one: `[n, ...]`.

    A value at the end of [0, 1] that its entry points to is left out, since it cannot move.

    Args:
        gradient: `[n, ...]`.
        x: `[n, ...]`, the current points.
        count: `[n]`, at least 1.
    """
    g, at = gradient.flatten(1), x.flatten(1)
    size_of = g.abs().masked_fill(torch.where(g > 0, at >= 1, at <= 0), 0)
    largest = size_of.topk(int(count.max()), dim=1).values
    least = largest.gather(1, (count - 1).unsqueeze(1)).clamp_min(_tiny(gradient))
    signs = g.sign() * (size_of >= least)
    return (signs / signs.abs().sum(1, keepdim=True).clamp_min(1)).view_as(gradient)


def ascent(gradient: Tensor, x: Tensor, norm: Norm) -> Tensor:
    """The direction of a step of projected gradient descent at `x`: `[n, ...]`.

    With Linf and L2 it is the steepest. With L1 it is the signs of the largest 1 % of the entries:
    the steepest changes a single value. With L0 it is the gradient with entries of mean size one.

    Source: Tramer & Boneh (2019), arXiv 1904.13000, for L1; Croce & Hein (2019), arXiv 1909.05040,
    for L0.

    Args:
        gradient: `[n, ...]`.
        x: `[n, ...]`, the current points.
        norm: in which the perturbation is measured.
    """
    if norm == "l1":
        count = max(1, round(_SHARE * x[0].numel()))
        return sparse(gradient, x, torch.full((len(x),), count, device=x.device))
    if norm == "l0":
        scaled, _ = _scaled(gradient)
        mean = scaled.flatten(1).abs().mean(1).clamp_min(_tiny(gradient))
        return scaled / per_image(mean, scaled)
    return steepest(gradient, norm)


def rise_left(gradient: Tensor, x: Tensor, origin: Tensor, norm: Norm, eps: float) -> Tensor:
    """How much a linear function can still rise from `x` within the ball and [0, 1]: `[n]`.

    This is the gap of Frank & Wolfe (1956). It is exact for Linf, L1 and L0. For L2 it is an upper
    bound, in which pixels that are at an end of [0, 1] stay, and all others are limited by the ball
    alone.

    Args:
        gradient: `[n, ...]`, of the linear function.
        x: `[n, ...]`, the current points.
        origin: `[n, ...]`, centres of the balls.
        norm: of the balls.
        eps: their radius.
    """
    count = int(farthest(x, "l0"))
    gradient, x, origin = gradient.flatten(1), x.flatten(1), origin.flatten(1)
    if norm == "linf":
        edge = torch.where(gradient > 0, origin + eps, origin - eps).clamp_(0, 1)
        return (gradient * (edge - x)).sum(1)
    if norm == "l1":
        # The values of the largest entries move to the end of [0, 1] until the radius is used up.
        order = gradient.abs().argsort(1, descending=True)
        room = torch.where(gradient > 0, 1 - origin, origin).gather(1, order)
        moved = (eps - (room.cumsum(1) - room)).clamp_min(0).minimum(room)
        gained = (gradient.abs().gather(1, order) * moved).sum(1)
        return gained - (gradient * (x - origin)).sum(1)
    if norm == "l0":
        room = torch.where(gradient > 0, 1 - origin, origin)
        gains = (gradient.abs() * room).view(len(x), -1, count).sum(1)
        most = gains.topk(min(int(eps), count), dim=1).values.sum(1)
        return most - (gradient * (x - origin)).sum(1)
    stuck = torch.where(gradient > 0, x >= 1, x <= 0)
    free = gradient.masked_fill(stuck, 0)
    return eps * dual_size(free, "l2") - (free * (x - origin)).sum(1)


def project(delta: Tensor, norm: Norm, eps: float) -> Tensor:
    """The nearest perturbation of size at most `eps`.

    Args:
        delta: `[n, ...]`, the perturbations.
        norm: in which they are measured.
        eps: the radius.
    """
    if norm == "linf":
        return delta.clamp(-eps, eps)
    if norm == "l1":
        return _shrunk(delta, torch.full_like(delta, math.inf), eps)
    if norm == "l0":
        return _only_largest(delta, delta.square(), eps)
    shrink = eps / size(delta, "l2").clamp_min(_tiny(delta))
    return (delta * per_image(shrink, delta).clamp_max(1)).to(delta.dtype)


def clip(x_adv: Tensor, x: Tensor, norm: Norm, eps: float) -> Tensor:
    """Bring `x_adv` into the ball around `x` and into [0, 1].

    With Linf, L1 and L0 that is the nearest point of both. With L2 the ball comes first, and [0, 1]
    second.

        L1   x + sign(d) * min(max(|d| - t, 0), room),    d = x_adv - x, t >= 0 the least that fits
        L0   the pixels whose change within [0, 1] brings x nearest to x_adv

    Source: Croce & Hein (2021), arXiv 2103.01208, Proposition 2.1, for L1; Croce & Hein (2019),
    arXiv 1909.05040, section 3.1, for L0.

    Args:
        x_adv: `[n, ...]`.
        x: `[n, ...]` in [0, 1], the centres.
        norm: of the ball.
        eps: its radius.
    """
    delta = x_adv - x
    if norm == "l1":
        room = torch.where(delta > 0, 1 - x, x)
        return (x + _shrunk(delta, room, eps)).clamp_(0, 1)
    if norm == "l0":
        inside = x_adv.clamp(0, 1)
        gain = delta.square() - (x_adv - inside).square()
        return x + _only_largest(inside - x, gain, eps)
    return (x + project(delta, norm, eps)).clamp_(0, 1)


def _shrunk(delta: Tensor, room: Tensor, eps: float) -> Tensor:
    """`sign(d) * min(max(|d| - t, 0), room)` with the least t >= 0 whose L1 size is at most `eps`.

    The size falls piecewise linearly in t, with breakpoints at |d| and |d| - room. They are sorted,
    and t is solved for on the piece that crosses `eps`.
    """
    length = delta.flatten(1).double().abs()
    limit = room.flatten(1).double()
    large = (length.minimum(limit).sum(1) > eps).nonzero().squeeze(1)
    if not len(large):
        return delta.sign() * delta.abs().minimum(room)
    result = length.minimum(limit)
    length, limit = length[large], limit[large]
    capped = length - limit  # until t has come so far the value stays at its limit
    ends, order = torch.cat([capped, length], 1).clamp_min(0).sort(1)
    slopes = torch.cat([-torch.ones_like(capped), torch.ones_like(length)], 1).gather(1, order)
    falls = slopes.cumsum(1)[:, :-1] * ends.diff(dim=1)
    sizes = result[large].sum(1, keepdim=True) + falls.cumsum(1)
    piece = (sizes > eps).sum(1, keepdim=True)
    # On that piece the values between their breakpoints shrink, and all others stay as they are.
    low, high = ends.gather(1, piece), ends.gather(1, (piece + 1).clamp_max(ends.shape[1] - 1))
    shrinking = (capped <= low) & (length >= high) & (length > low)
    staying = limit.where(capped >= high, 0).nan_to_num(posinf=0).sum(1)
    total = length.where(shrinking, 0).sum(1) + staying - eps
    t = (total / shrinking.sum(1).clamp_min(1)).unsqueeze(1).clamp(low, high)
    result[large] = (length - t).clamp_min(0).minimum(limit)
    return delta.sign() * result.view_as(delta).to(delta.dtype)


def _only_largest(delta: Tensor, gain: Tensor, eps: float) -> Tensor:
    """`delta` at the `eps` pixels of largest `gain: [n, ...]`, and 0 elsewhere."""
    gain = (gain.sum(1) if gain.dim() == _IMAGE else gain).flatten(1)
    count = min(int(eps), gain.shape[1])
    kept = torch.zeros_like(gain).scatter(1, gain.topk(count, dim=1).indices, 1)
    shape = (len(delta), 1, *delta.shape[2:]) if delta.dim() == _IMAGE else delta.shape
    return torch.where(kept.view(shape) > 0, delta, 0)


def random_start(x: Tensor, norm: Norm, eps: float, generator: torch.Generator) -> Tensor:
    """Perturbations drawn uniformly from the ball of radius `eps`: `[n, ...]`.

    With L0 that many random pixels change by uniform numbers in [-1, 1].

    Args:
        x: `[n, ...]`, images, whose shape, type and device are taken.
        norm: of the ball.
        eps: its radius.
        generator: of the random numbers.
    """
    if norm == "linf":
        unit = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        return (2 * unit - 1) * eps
    if norm == "l1":
        return eps * _in_cross_polytope(x, generator)
    if norm == "l0":
        like = {"dtype": x.dtype, "device": x.device, "generator": generator}
        count, channels = int(farthest(x, "l0")), x.shape[1] if x.dim() == _IMAGE else 1
        rank = torch.rand(len(x), count, **like)
        change = 2 * torch.rand(x.shape, **like) - 1
        return _only_largest(change, rank.repeat(1, channels).view_as(x), eps)
    direction = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
    radius = torch.rand(len(x), dtype=x.dtype, device=x.device, generator=generator)
    radius = radius ** (1 / x[0].numel()) * eps
    return steepest(direction, "l2") * per_image(radius, x)


def _in_cross_polytope(x: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in the L1 ball of radius 1: signed exponential numbers over a sum of one more."""
    inputs = x[0].numel()
    uniform = torch.rand(len(x), inputs + 1, dtype=x.dtype, device=x.device, generator=generator)
    spacing = -(1 - uniform).log()
    spacing = spacing / spacing.sum(1, keepdim=True)
    signs = torch.rand(len(x), inputs, dtype=x.dtype, device=x.device, generator=generator) < 0.5
    return (spacing[:, :-1] * torch.where(signs, 1.0, -1.0).to(x.dtype)).view_as(x)


def _scaled(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient with largest entry 1, and that entry: a tiny one would underflow if squared."""
    peak = size(gradient, "linf")
    return gradient / per_image(peak, gradient).clamp_min(_tiny(gradient)), peak


def _tiny(like: Tensor) -> float:
    return torch.finfo(like.dtype).tiny
