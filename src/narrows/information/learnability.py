"""Up to which beta anything can be learned: the largest weight of compression worth a code."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.checks import ArrayLike
from narrows.information._certificate import divergences, highest
from narrows.information._joint import Source, reduce

__all__ = ["Learnability", "learnability"]

_ROUNDS = 100
_SLACK = 1e-13
_ABOVE = 1e-12
_LEAST = 1e-15


@dataclass(frozen=True)
class Learnability:
    """The threshold of a joint distribution.

    Attributes:
        beta_0: from this weight of compression on the optimum is to pass nothing.
        local: squared maximal correlation. From this beta on, the code that passes nothing is a
            local optimum. Up to `beta_0` better codes exist, and descent from there misses them.
        certified: whether it is proven that no larger beta passes anything (two classes), or only
            that a search found none (more).
    """

    beta_0: float
    local: float
    certified: bool


def learnability(joint: ArrayLike) -> Learnability:
    """Find the largest beta at which the bottleneck of a joint distribution passes anything.

        beta_0 = sup_Z I(Z;Y) / I(X;Z) = sup_r KL(r_y || p_y) / KL(r_x || p_x)
        r_y = sum_x p(y|x) r_x,   beta_0 >= rho^2

    rho, the second singular value of p(x,y) / sqrt(p(x) p(y)), is the maximal correlation. Below
    beta_0 the best code beats the one that passes nothing; from beta_0 on nothing is worth its
    rate. Below rho^2 an infinitesimal code already gains.

    Source: Wu, Fischer, Chuang & Tegmark (2019), arXiv 1907.07331, whose beta multiplies I(Z;Y):
    their beta_0 is the inverse. The supremum is the contraction coefficient of Anantharam, Gohari,
    Kamath & Nair (2013), arXiv 1304.6133.
    Deviations: Wu et al. bound beta_0 by conditions on subsets of x. Here it is found exactly, to
    about 1e-9: the code that passes nothing is optimal at beta if and only if c(q) of
    `_certificate.py` is nowhere above 1. A q where it is belongs to an r whose ratio is larger than
    beta and becomes the next beta (Dinkelbach 1967, "On Nonlinear Fractional Programming").

    Args:
        joint: `[X, Y]`, p(x, y).

    Returns:
        The threshold.

    Raises:
        InputError: if `joint` is no joint distribution.

    Example:
        >>> round(learnability(torch.tensor([[0.45, 0.05], [0.05, 0.45]])).beta_0, 6)
        0.64
    """
    source = reduce(joint).source
    local = _maximal_correlation(source) ** 2
    # Without correlation there is nothing to learn, at any beta.
    beta_0 = _rise(source, local) if local > _LEAST else local
    return Learnability(beta_0, local, source.p_y.shape[1] == 2)


def _rise(source: Source, beta: float) -> float:
    """Raise beta, from one where a code may gain, until none does."""
    for _ in range(_ROUNDS):
        r_x = _worthwhile(source, beta)
        if r_x is None:
            break
        higher = _ratio(source, r_x)
        if higher <= beta:
            break
        beta = min(higher, 1.0)
    return beta


def _maximal_correlation(source: Source) -> float:
    if len(source.p_x) < 2:
        return 0.0
    p_y = source.p_x @ source.p_y
    scaled = source.p_x.sqrt()[:, None] * source.p_y / p_y.sqrt()
    return min(1.0, torch.linalg.svdvals(scaled)[1].item())


def _worthwhile(source: Source, beta: float) -> Tensor | None:
    """The p(x|z) `[X]` most worth adding to a code that passes nothing; None if none is."""
    p_y, t = source.p_x @ source.p_y, source.p_x.new_tensor([1 / beta])
    log_l = -t[:, None] * divergences(source.p_y, p_y[None])[:, 0]
    peak = highest(source, log_l, t, p_y.expand(1, 1, -1), _SLACK)
    if not peak.log_value[0, 0] > _ABOVE:
        return None
    log_r = source.p_x.log() - log_l - t[:, None] * divergences(source.p_y, peak.q[0, :1])[:, 0]
    return log_r.softmax(1)[0]


def _ratio(source: Source, r_x: Tensor) -> float:
    """KL(r_y || p_y) / KL(r_x || p_x), precise also where r is close to p."""

    def divergence(r: Tensor, p: Tensor) -> Tensor:
        off = (r - p) / p
        return (p * (torch.special.xlog1py(1 + off, off) - off)).sum()

    p_x = source.p_x
    above = divergence(r_x @ source.p_y, p_x @ source.p_y)
    return (above / divergence(r_x, p_x)).item()
