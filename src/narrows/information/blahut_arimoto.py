"""The exact information bottleneck of a joint distribution that is known: Blahut-Arimoto.

    minimise beta I(X;Z) - I(Z;Y) over p(z|x):
    p(z|x) = p(z) exp(-d(x, z) / beta) / L(x),   d(x, z) = KL(p(y|x) || p(y|z))
    p(z) = sum_x p(x) p(z|x),   p(y|z) = sum_x p(y|x) p(x|z)

Source: Tishby, Pereira & Bialek (1999), arXiv physics/0004057, who minimise
I(X;Z) - beta_T I(Z;Y): beta_T = 1 / beta. Zhai & Zhang (2021), arXiv 2103.00381, have our beta in
eq. 3 and beta_T in eq. 8, the same iteration with ten clusters.

The iteration alone only finds a stationary point, slowly where clusters split, which is why it is
commonly annealed over beta and restarted at random. Here it starts from decoders spread over the
rows p(y|x) and only leads Newton's method (`_newton.py`) to its basin. As long as a decoder q is
found (`_certificate.py`) that the code would gain from, q becomes a cluster in the place of an
empty one or of a duplicate. The same search bounds the gap to the optimum. Equal rows of p(y|x) are
merged first, which changes nothing: the best encoder treats them alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.errors import InputError
from narrows.information._certificate import Peak, highest
from narrows.information._checks import check_betas
from narrows.information._clusters import decode, encode, grow
from narrows.information._joint import (
    Source,
    check_joint,
    merge_rows,
    mutual_information,
    spread,
)
from narrows.information._newton import climb
from narrows.information.curve import IBPoint

__all__ = ["IBSolution", "information_bottleneck"]

_TINY = 1e-300
_ROUND = 300
_ROUGH = 1e-4
_CLIMB = 60
_REACH = 4.0
# In nats: the gain that is worth a new cluster, and how loose the gap may be.
_AIM = 3e-10
_SLACK = 3e-10
# Rounding errors of d are divided by beta.
_SMALLEST_BETA = 1e-9


# No generated equality: it would compare tensors, whose truth value is undefined.
@dataclass(frozen=True, eq=False)
class IBSolution:
    """The bottleneck at each of B betas, in nats.

    Attributes:
        betas: `[B]`, the weight of compression, in the order that was asked for.
        rate: `[B]`, I(X;Z).
        relevance: `[B]`, I(Z;Y).
        encoder: `[B, X, Z]`, p(z|x).
        decoder: `[B, Z, Y]`, p(y|z).
        gap: `[B]`, how far `beta I(X;Z) - I(Z;Y)` can be above the optimum over all encoders, also
            those with more clusters.
        certified: whether the gap is proven (two classes) or the result of a search (more).
        iterations: `[B]`, updates made.
        converged: `[B]` bool, whether the last update changed no p(z|x) by more than the tolerance.
        information: I(X;Y), the relevance that nothing exceeds.
    """

    betas: Tensor
    rate: Tensor
    relevance: Tensor
    encoder: Tensor
    decoder: Tensor
    gap: Tensor
    certified: bool
    iterations: Tensor
    converged: Tensor
    information: float

    def points(self) -> list[IBPoint]:
        """The solutions as points of the IB curve."""
        rows = zip(self.betas.tolist(), self.rate.tolist(), self.relevance.tolist(), strict=True)
        return [IBPoint(*row) for row in rows]


def information_bottleneck(
    joint: Tensor,
    betas: Sequence[float] | Tensor,
    clusters: int = 10,
    tolerance: float = 1e-9,
    max_iterations: int = 20_000,
) -> IBSolution:
    """Solve the information bottleneck of `joint` at each beta, with a bound on the error.

    Args:
        joint: `[X, Y]`, p(x, y); every x has some probability.
        betas: weights of I(X;Z), above 0. As beta -> 0 the relevance tends to I(X;Y); from a
            critical beta <= 1 on nothing is worth its rate, and both informations are 0.
        clusters: number of values that Z can take. If a gap stays although the iteration has
            converged, the optimum may want more.
        tolerance: iterate until no p(z|x) changes by more.
        max_iterations: updates per beta at most.

    Raises:
        InputError: if `joint` is no joint distribution, a beta is below 1e-9, or another setting is
            not positive.

    Example:
        >>> joint = torch.tensor([[0.45, 0.05], [0.05, 0.45]])
        >>> solution = information_bottleneck(joint, [0.1, 0.5])
        >>> [round(point.relevance, 3) for point in solution.points()]
        [0.368, 0.282]
    """
    source, merged = merge_rows(check_joint(joint))
    betas = _check_settings(betas, clusters, tolerance, max_iterations)
    codes = [_solve(source, 1 / beta, clusters, tolerance, max_iterations) for beta in betas]
    rate = torch.stack([mutual_information(source.p_x, c.encoder) for c in codes])
    relevance = torch.stack([mutual_information(source.p_x @ c.encoder, c.q) for c in codes])
    information = mutual_information(source.p_x, source.p_y)
    # The Lagrangian with the distortion d is beta I(X;Z) + I(X;Y) - I(Z;Y).
    floor = betas * torch.stack([c.floor for c in codes]) - information
    return IBSolution(
        betas=betas,
        rate=rate,
        relevance=relevance,
        encoder=torch.stack([c.encoder[merged] for c in codes]),
        decoder=torch.stack([c.q for c in codes]),
        gap=betas * rate - relevance - floor,
        certified=all(c.certified for c in codes),
        iterations=torch.tensor([c.iterations for c in codes]),
        converged=torch.tensor([c.converged for c in codes]),
        information=information.item(),
    )


class _Code(NamedTuple):
    """p(z|x), p(y|z), and a lower bound of I(X;Z) + t E d over all codes."""

    encoder: Tensor
    q: Tensor
    floor: Tensor
    certified: bool
    iterations: int
    converged: bool


# Below, `clusters: [Z, 1 + Y]` is p(z) in the first column and p(y|z) in the others.


def _solve(source: Source, t: Tensor, count: int, tolerance: float, max_iterations: int) -> _Code:
    clusters = torch.cat([torch.full((count, 1), 1 / count).to(t), spread(source.p_y, count)], 1)
    steps = min(_ROUND, max_iterations)
    _, clusters, iterations, _ = _iterate(source, t, clusters, _ROUGH, steps)
    while True:
        clusters, used = climb(source, t, clusters, min(_CLIMB, max_iterations - iterations))
        iterations += used
        peak, _ = _certify(source, t, clusters)
        grown = grow(source, t, clusters, peak.q) if peak.log_value > _AIM * t.item() else None
        if iterations >= max_iterations or grown is None:
            break
        clusters = grown
    steps = max(1, min(_ROUND, max_iterations - iterations))
    encoder, clusters, used, converged = _iterate(source, t, clusters, tolerance, steps)
    peak, log_l = _certify(source, t, clusters)
    floor = -(source.p_x @ log_l) - peak.log_bound
    return _Code(encoder, clusters[:, 1:], floor, peak.certified, iterations + used, converged)


def _certify(source: Source, t: Tensor, clusters: Tensor) -> tuple[Peak, Tensor]:
    """The decoder that the code would gain most from, and log L(x)."""
    _, log_l = encode(source, t, clusters)
    log_weight = source.p_x.log() - log_l
    slack = _SLACK * t.item()
    return highest(source.p_y, log_weight, t.item(), clusters[:, 1:], slack), log_l


def _iterate(
    source: Source, t: Tensor, clusters: Tensor, tolerance: float, steps: int
) -> tuple[Tensor, Tensor, int, bool]:
    """Alternate until the encoder stands still: encoder, its clusters, updates, whether it does.

    After every two updates follows a leap along their direction (Varadhan & Roland 2008, SQUAREM),
    undone where it raises the objective or leaves the probabilities.
    """
    used, reach = 0, _REACH
    before, _ = encode(source, t, clusters)
    while True:
        first = decode(source, before, clusters)
        encoder, _ = encode(source, t, first)
        second = decode(source, encoder, first)
        used += 1
        change = (encoder - before).abs().max().item()
        if change <= tolerance or used >= steps:
            return encoder, second, used, change <= tolerance
        before, log_l = encode(source, t, second)
        leap, length = _leap(clusters, first, second, reach)
        after, log_leap = encode(source, t, leap.clamp_min(0))
        used += 1
        if leap.min() >= 0 and source.p_x @ log_leap >= source.p_x @ log_l:
            clusters, before = leap, after
            reach = _REACH * reach if length == reach else reach
        else:
            clusters, reach = second, max(1.0, reach / _REACH)


def _leap(start: Tensor, first: Tensor, second: Tensor, reach: float) -> tuple[Tensor, float]:
    """Extrapolate two updates by at most `reach`; 1 gives the second itself. Also the length."""
    step = first - start
    bend = second - first - step
    length = (step.norm() / bend.norm().clamp_min(_TINY)).clamp(1, reach).item()
    return start + 2 * length * step + length**2 * bend, length


def _check_settings(
    betas: Sequence[float] | Tensor, clusters: int, tolerance: float, max_iterations: int
) -> Tensor:
    betas = check_betas(betas, _SMALLEST_BETA)
    settings = {"clusters": clusters, "tolerance": tolerance, "max_iterations": max_iterations}
    if not all(value > 0 for value in settings.values()):
        raise InputError(f"settings must be positive, got {settings}")
    return betas
