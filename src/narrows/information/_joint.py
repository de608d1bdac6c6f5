"""A joint distribution p(x, y) as the solvers of the bottleneck take it, checked and made small."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.errors import InputError

__all__ = ["Source", "check_joint", "coarsen", "merge_rows", "mutual_information", "spread"]

_SAME_ROW = 1e-12
_NO_WIDTH = 1e-18


class Source(NamedTuple):
    """p(x): `[X]` and p(y|x): `[X, Y]`, float64."""

    p_x: Tensor
    p_y: Tensor


def mutual_information(p: Tensor, conditional: Tensor) -> Tensor:
    """I(A;B) in nats, `[...]`, from p(a): `[..., A]` and p(b|a): `[..., A, B]`."""
    joint = p[..., None] * conditional
    independent = p[..., None] * joint.sum(-2, keepdim=True)
    terms = torch.special.xlogy(joint, joint) - torch.special.xlogy(joint, independent)
    return terms.sum((-2, -1))


def merge_rows(joint: Tensor) -> tuple[Source, Tensor]:
    """Merge the x with equal p(y|x); also which merged row each x became: `[X]`."""
    p_y = joint / joint.sum(1, keepdim=True)
    steps = (p_y / _SAME_ROW).round()
    if p_y.shape[1] == 2:
        # One number decides; sorting numbers is ten times as fast as sorting rows.
        kinds, merged = steps[:, 1].unique(return_inverse=True)
    else:
        kinds, merged = steps.unique(dim=0, return_inverse=True)
    together = joint.new_zeros(len(kinds), joint.shape[1]).index_add_(0, merged, joint)
    p_x = together.sum(1)
    return Source(p_x, together / p_x[:, None]), merged


def coarsen(source: Source, cells: int) -> Source:
    """Two rows for each of `cells` intervals of p(y=1|x), with three moments of those within.

    The nodes are those of Gauss's quadrature. For two classes.
    """
    p = source.p_y[:, 1]
    cell = ((p - p.min()) / (p.max() - p.min()) * cells).long().clamp_max(cells - 1)

    def total(terms: Tensor) -> Tensor:
        return p.new_zeros(cells).index_add_(0, cell, source.p_x * terms)

    mass = total(torch.ones_like(p))
    mean = total(p) / mass
    off = p - mean[cell]
    second, third = total(off**2) / mass, total(off**3) / mass
    root = (third.square() + 4 * second**3).sqrt()
    wide = second > _NO_WIDTH
    above, below = (
        torch.where(wide, (third + sign * root) / (2 * second), 0.0) for sign in (1, -1)
    )
    share = torch.where(wide, -below / (above - below), 1.0)
    p_x = torch.cat([mass * share, mass * (1 - share)])
    nodes = torch.cat([mean + above, mean + below])[p_x > 0].clamp(0, 1)
    p_x = p_x[p_x > 0]
    return Source(p_x / p_x.sum(), torch.stack([1 - nodes, nodes], 1))


def spread(p_y: Tensor, count: int) -> Tensor:
    """Rows of p(y|x) far from each other: `[count, Y]`, each the farthest from those before."""
    roots = p_y.sqrt()
    chosen = [0]
    nearest = (roots - roots[0]).square().sum(1)
    for _ in range(count - 1):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (roots - roots[chosen[-1]]).square().sum(1))
    return p_y[chosen]


def check_joint(joint: Tensor) -> Tensor:
    """Return `joint: [X, Y]` as float64 on the CPU, summing to 1 exactly.

    Raises:
        InputError: for another shape, negative entries, another sum, or an x of probability 0.
    """
    if joint.dim() != 2 or not joint.is_floating_point() or joint.shape[1] < 2 or not len(joint):
        raise InputError(
            "joint must be floating point [X, Y] with some x and 2 or more classes, got "
            f"{joint.dtype} {list(joint.shape)}"
        )
    joint = joint.detach().to("cpu", torch.float64)
    if not (joint >= 0).all() or not math.isclose(joint.sum().item(), 1, abs_tol=1e-5):
        raise InputError(
            "joint must hold probabilities that sum to 1, got a smallest of "
            f"{joint.min().item():g} and a sum of {joint.sum().item():g}"
        )
    if not (joint.sum(1) > 0).all():
        raise InputError("joint has an x of probability 0, whose p(y|x) is undefined; drop it")
    return joint / joint.sum()
