"""A joint distribution p(x, y), checked and reduced to what the solvers of the bottleneck need.

Rows with the same p(y|x) are merged, which changes nothing: the best encoder treats them alike. An
x or a y of probability 0 is left out, because no information depends on it. In the result they are
put back: a y with p(y|z) = 0, and an x with p(z|x) = p(z), the code without knowledge of x.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.checks import ArrayLike, check_joint

__all__ = ["Joint", "Source", "coarsen", "merge_rows", "mutual_information", "reduce", "spread"]

# Probabilities nearer to each other than this are equal but for rounding.
_SAME_ROW = 1e-12
_NO_WIDTH = 1e-18


class Source(NamedTuple):
    """p(x): `[X]` and p(y|x): `[X, Y]`, float64."""

    p_x: Tensor
    p_y: Tensor


class Joint(NamedTuple):
    """A joint `[X, Y]`, reduced.

    Attributes:
        source: the distinct rows and the classes that occur.
        merged: `[X]`, the row of `source` that each x became, and -1 for an x of probability 0.
        classes: which y the columns of `source` are.
        columns: Y.
    """

    source: Source
    merged: Tensor
    classes: Tensor
    columns: int

    def restore_rows(self, table: Tensor, unseen: Tensor) -> Tensor:
        """Undo the merging: `[B, X, ...]`; an x that never occurs gets `unseen`, `[B, 1, ...]`."""
        if (self.merged < 0).any():
            table = torch.cat([table, unseen], 1)
        return table[:, self.merged]

    def restore_classes(self, table: Tensor) -> Tensor:
        """`[..., Y]` from `[..., classes]`, 0 for y that never occur."""
        whole = table.new_zeros(*table.shape[:-1], max(self.columns, int(self.classes.max()) + 1))
        whole[..., self.classes] = table
        return whole[..., : self.columns]


def reduce(joint: ArrayLike) -> Joint:
    """Check a joint and reduce it; at least two classes are kept.

    Raises:
        InputError: if it is no joint distribution.
    """
    p = check_joint(joint)
    columns = p.shape[1]
    p = F.pad(p, (0, max(0, 2 - columns)))
    occurs = p.sum(0) > 0
    classes = occurs.int().argsort(descending=True, stable=True)[: max(2, int(occurs.sum()))]
    classes = classes.sort().values
    rows = p.sum(1) > 0
    source, merged = merge_rows(p[rows][:, classes])
    places = torch.full((len(p),), -1)
    places[rows] = merged
    return Joint(source, places, classes, columns)


def mutual_information(p: Tensor, conditional: Tensor) -> Tensor:
    """I(A;B) in nats, `[...]`, from p(a): `[..., A]` and p(b|a): `[..., A, B]`."""
    joint = p[..., None] * conditional
    independent = p[..., None] * joint.sum(-2, keepdim=True)
    terms = torch.special.xlogy(joint, joint) - torch.special.xlogy(joint, independent)
    return terms.sum((-2, -1))


def merge_rows(joint: Tensor) -> tuple[Source, Tensor]:
    """Merge the x with equal p(y|x), up to rounding; also which merged row each x became: `[X]`."""
    p_y = joint / joint.sum(1, keepdim=True)
    if p_y.shape[1] == 2:
        # One number decides; numbering numbers is ten times as fast as numbering rows.
        merged = _number(p_y[:, 1])
        count = int(merged.max()) + 1
    else:
        numbers = torch.stack([_number(column) for column in p_y.T], 1)
        kinds, merged = numbers.unique(dim=0, return_inverse=True)
        count = len(kinds)
    together = joint.new_zeros(count, joint.shape[1]).index_add_(0, merged, joint)
    p_x = together.sum(1)
    return Source(p_x, together / p_x[:, None]), merged


def _number(column: Tensor) -> Tensor:
    """Number the different values of a column `[X]`, rising; a gap tells them apart from rounding.

    Rounding to a grid would not: equal values can lie on two sides of one of its edges.
    """
    values, order = column.sort()
    steps = torch.cat([values.new_zeros(1), values.diff() > _SAME_ROW]).cumsum(0).long()
    return torch.empty_like(order).index_copy_(0, order, steps)


def coarsen(source: Source, cells: int) -> Source:
    """Two rows for each of `cells` intervals of p(y=1|x), with the first three moments of its rows.

    They are the nodes of Gaussian quadrature. For two classes.
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
    """Rows of p(y|x) far from each other: `[count, Y]`, each farthest from those before it."""
    roots = p_y.sqrt()
    chosen = [0]
    nearest = (roots - roots[0]).square().sum(1)
    for _ in range(count - 1):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (roots - roots[chosen[-1]]).square().sum(1))
    return p_y[chosen]
