"""Geometry of the threat models: sizes, steepest directions, projections, random starts.

The first axis is always the batch, and all others belong to one image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.types import Norm

__all__ = [
    "dual_size",
    "exact",
    "per_image",
    "project",
    "random_start",
    "rise_left",
    "size",
    "steepest",
]


def exact(dtype: torch.dtype) -> torch.dtype:
    """The type to compute in with numbers of `dtype`: float32 at least."""
    return torch.promote_types(dtype, torch.float32)


def per_image(value: Tensor, like: Tensor) -> Tensor:
    """View one number per image, `[n]`, so that it broadcasts against `like: [n, ...]`."""
    return value.view(-1, *(1,) * (like.dim() - 1))


def size(delta: Tensor, norm: Norm) -> Tensor:
    """Norm of each image's perturbation: `[n, ...] -> [n]`, in float32 at least."""
    flat = delta.flatten(1).to(exact(delta.dtype))
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def dual_size(gradient: Tensor, norm: Norm) -> Tensor:
    """Fastest rise of a linear function per unit of `norm`: L1 size for Linf, L2 for L2."""
    if norm == "linf":
        return gradient.flatten(1).abs().sum(1)
    scaled, peak = _scaled(gradient)
    return size(scaled, "l2") * peak


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Direction of size one in `norm` along which a linear function rises fastest.

    Where the gradient is exactly zero so is the direction.
    """
    if norm == "linf":
        return gradient.sign()
    scaled, _ = _scaled(gradient)
    length = per_image(size(scaled, "l2"), gradient).clamp_min(_tiny(gradient))
    return (scaled / length).to(gradient.dtype)


def rise_left(gradient: Tensor, x: Tensor, origin: Tensor, norm: Norm, eps: float) -> Tensor:
    """How much a linear function can still rise from `x` within the ball and [0, 1]: `[n]`.

    This is the gap of Frank & Wolfe (1956). It is exact for Linf. For L2 it is an upper bound, in
    which pixels that are at an end of [0, 1] stay, and all others are limited by the ball alone.

    Args:
        gradient: `[n, ...]`, of the linear function.
        x: `[n, ...]`, the current points.
        origin: `[n, ...]`, centres of the balls.
        norm: of the balls.
        eps: their radius.
    """
    gradient, x, origin = gradient.flatten(1), x.flatten(1), origin.flatten(1)
    if norm == "linf":
        edge = torch.where(gradient > 0, origin + eps, origin - eps).clamp_(0, 1)
        return (gradient * (edge - x)).sum(1)
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
    shrink = eps / size(delta, "l2").clamp_min(_tiny(delta))
    return (delta * per_image(shrink, delta).clamp_max(1)).to(delta.dtype)


def random_start(x: Tensor, norm: Norm, eps: float, generator: torch.Generator) -> Tensor:
    """Perturbations drawn uniformly from the ball of radius `eps`: `[n, ...]`.

    Args:
        x: `[n, ...]`, images, whose shape, type and device are taken.
        norm: of the ball.
        eps: its radius.
        generator: of the random numbers.
    """
    if norm == "linf":
        unit = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        return (2 * unit - 1) * eps
    direction = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
    radius = torch.rand(len(x), dtype=x.dtype, device=x.device, generator=generator)
    radius = radius ** (1 / x[0].numel()) * eps
    return steepest(direction, "l2") * per_image(radius, x)


def _scaled(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient with largest entry 1, and that entry: a tiny one would underflow if squared."""
    peak = size(gradient, "linf")
    return gradient / per_image(peak, gradient).clamp_min(_tiny(gradient)), peak


def _tiny(like: Tensor) -> float:
    return torch.finfo(like.dtype).tiny
