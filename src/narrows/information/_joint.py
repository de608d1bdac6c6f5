"""A joint distribution p(x, y) as the solvers of the bottleneck take it, checked and made small."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.errors import InputError

__all__ = ["Source", "check_joint", "merge_rows", "mutual_information", "spread"]

_SAME_ROW = 1e-12


class Source(NamedTuple):
    """p(x): `[X]` and p(y|x): `[X, Y]`, float64."""

    p_x: Tensor
    p_y: Tensor


def mutual_information(p: Tensor, conditional: Tensor) -> Tensor:
    """I(A;B) in nats from p(a): `[A]` and p(b|a): `[A, B]`."""
    joint = p[:, None] * conditional
    independent = p[:, None] * joint.sum(0)
    return (torch.special.xlogy(joint, joint) - torch.special.xlogy(joint, independent)).sum()


def merge_rows(joint: Tensor) -> tuple[Source, Tensor]:
    """Merge the x with equal p(y|x); also which merged row each x became: `[X]`."""
    p_y = joint / joint.sum(1, keepdim=True)
    kinds, merged = (p_y / _SAME_ROW).round().unique(dim=0, return_inverse=True)
    together = joint.new_zeros(kinds.shape).index_add_(0, merged, joint)
    p_x = together.sum(1)
    return Source(p_x, together / p_x[:, None]), merged


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
    if joint.dim() != 2 or not joint.is_floating_point() or joint.shape[1] < 2:
        raise InputError(
            f"joint must be floating point [X, Y] with 2 or more classes, got {joint.dtype} "
            f"{list(joint.shape)}"
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
