"""All 4,096 patterns of twelve bits, labelled by a rule that is invariant to rotations.

    f(x) = 114 k - 11 k^2 + 24 E1 - 12 E3 - 429.5,   y = [f > 0],   p(y=1|x) = sigmoid(gamma f)

The twelve bits are the vertices of an icosahedron, twelve points spread evenly over a sphere. k is
the number of bits that are 1, E1 the number of pairs of them that are neighbours (63 degrees
apart), E3 the number of pairs at opposite points (180 degrees). All other pairs are 117 degrees
apart, and there are k(k-1)/2 - E1 - E3 of them, so (k, E1, E3) determines how often each distance
occurs. The 120 rotations and reflections that map the icosahedron onto itself permute the bits but
keep all distances, hence f. Under them the patterns form 82 orbits with 64 triples (k, E1, E3) and
51 values of f, so that exact computations may merge equal rows of p(y|x).

Patterns are equally likely; 2,118 have y = 1, so with hard labels I(X;Y) = H(Y) = 0.99916 bits. For
hard labels the curve of the information bottleneck degenerates into straight lines, because Y is
then a function of X; the soft rule, with gamma solved for I(X;Y) = 0.99 bits, is for exact curves.

Source: the task of Shwartz-Ziv & Tishby (2017), arXiv 1703.00810, who describe the rule as a
sigmoid of a spherically symmetric function. The closed form above is this library's; it gives their
published labels, up to the order of the twelve points.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

from narrows.data._base import Dataset, Root, Splits, split_off
from narrows.errors import InputError

__all__ = [
    "joint",
    "load_twelve_bit",
    "patterns",
    "population",
    "scores",
    "solve_gamma",
    "vertices",
]

_BITS = 12
_SPLIT_SEED = 0


def patterns() -> Tensor:
    """Every pattern once: `[4096, 12]` float32 of 0 and 1; row i has bit j of the number i."""
    numbers = torch.arange(2**_BITS).unsqueeze(1)
    return (numbers >> torch.arange(_BITS) & 1).to(torch.float32)


def vertices() -> Tensor:
    """Unit vectors to the vertices of an icosahedron, in the order of the bits: `[12, 3]`."""
    golden = (1 + math.sqrt(5)) / 2
    corners = [(0.0, a, b * golden) for a, b in product((-1, 1), repeat=2)]
    points = [corner[-turn:] + corner[:-turn] for corner in corners for turn in range(3)]
    return torch.tensor(points, dtype=torch.float64) / math.hypot(1, golden)


def scores() -> Tensor:
    """Value f of every pattern, in the order of `patterns()`: `[4096]` float64, never 0."""
    cosines = vertices() @ vertices().T
    neighbours = (cosines - 1 / math.sqrt(5)).abs() < 1e-9
    opposites = (cosines + 1).abs() < 1e-9
    x = patterns().double()
    k = x.sum(1)
    e1, e3 = (((x @ pairs.double()) * x).sum(1) / 2 for pairs in (neighbours, opposites))
    return 114 * k - 11 * k**2 + 24 * e1 - 12 * e3 - 429.5


def solve_gamma(information_bits: float = 0.99) -> float:
    """Sharpness gamma at which the soft rule has I(X;Y) = `information_bits`, by bisection.

    Raises:
        InputError: if no gamma can: the information lies between 0 and 0.99916 bits.

    Example:
        >>> round(solve_gamma(0.99), 4)
        1.6524
    """
    f = scores()
    target, ceiling = information_bits * math.log(2), _information((f > 0).double())
    if not 0 < target < ceiling:
        raise InputError(
            f"information_bits must lie between 0 and {ceiling / math.log(2):.6f} "
            f"(hard labels), got {information_bits}"
        )
    low, high = 0.0, 1.0
    while _information(torch.sigmoid(high * f)) < target:
        low, high = high, 2 * high
    # Halved until no float lies between: the information rises with gamma.
    while low < (middle := (low + high) / 2) < high:
        if _information(torch.sigmoid(middle * f)) < target:
            low = middle
        else:
            high = middle
    return high


def joint(information_bits: float | None = 0.99) -> Tensor:
    """Joint distribution p(x, y): `[4096, 2]` float64, rows as `patterns()`, summing to 1.

    Args:
        information_bits: I(X;Y) of the soft rule; None for hard labels.

    Raises:
        InputError: if no sharpness of the rule has that information.
    """
    f = scores()
    if information_bits is None:
        rows = torch.stack([f <= 0, f > 0], 1).double()
    else:
        logit = solve_gamma(information_bits) * f
        rows = torch.sigmoid(torch.stack([-logit, logit], 1))
    return rows / len(rows)


def population(information_bits: float | None = None, seed: int = 0) -> Dataset:
    """Every pattern with its label: `x: [4096, 12]`; no images, as the rule is for bits 0 and 1.

    Args:
        information_bits: None for hard labels; else each label is one draw of the soft rule.
        seed: of the draws.
    """
    if information_bits is None:
        y = (scores() > 0).to(torch.int64)
    else:
        p1 = joint(information_bits)[:, 1] * 2**_BITS
        y = torch.bernoulli(p1, generator=torch.Generator().manual_seed(seed)).to(torch.int64)
    return Dataset("twelve-bit", patterns(), y, classes=2, image=False)


def load_twelve_bit(root: Root = None) -> Splits:
    """Load the hard-labelled patterns, 64 % / 16 % / 20 % of each class.

    Training and validation are 80 %, the training share of Nguyen & Choi (2017), arXiv 1712.01272,
    split 4:1 as in AIB's experiments. For the whole population use `population()`.

    Args:
        root: not used, since the data are computed; every loader takes it.
    """
    rest, test = split_off(population(), 0.2, _SPLIT_SEED)
    train, validation = split_off(rest, 0.2, _SPLIT_SEED)
    return Splits(train, validation, test)


def _information(p1: Tensor) -> float:
    """I(X;Y) in nats of equally likely patterns with p(y=1|x) = `p1: [4096]`."""
    return (_entropy(p1.mean()) - _entropy(p1).mean()).item()


def _entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p) - torch.special.xlogy(1 - p, 1 - p)
