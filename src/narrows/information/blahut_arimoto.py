"""The exact information bottleneck of a joint distribution that is known: Blahut-Arimoto.

    minimise beta I(X;Z) - I(Z;Y) over p(z|x):
    p(z|x) = p(z) exp(-d(x, z) / beta) / L(x),   d(x, z) = KL(p(y|x) || p(y|z))
    p(z) = sum_x p(x) p(z|x),   p(y|z) = sum_x p(y|x) p(x|z)

Source: Tishby, Pereira & Bialek (1999), arXiv physics/0004057, who minimise
I(X;Z) - beta_T I(Z;Y): beta_T = 1 / beta. Zhai & Zhang (2021), arXiv 2103.00381, have our beta in
eq. 3 and beta_T in eq. 8, the same iteration with ten clusters.

The iteration alone only finds a stationary point, which is why it is commonly annealed over beta
and restarted at random. Here it starts from decoders spread over the rows p(y|x), and goes on as
long as a decoder q is found (`_certificate.py`) that the code would gain from: q becomes a cluster
in the place of one that duplicates another. The same search bounds the gap to the optimum. Equal
rows of p(y|x) are merged first, which changes nothing: the best encoder treats them alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.errors import InputError
from narrows.information._certificate import divergences, highest
from narrows.information._joint import Source, check_joint, merge_rows, mutual_information
from narrows.information.curve import IBPoint

__all__ = ["IBSolution", "information_bottleneck"]

_SAME_CLUSTER = 1e-4
_EMPTY = 1e-12
_TINY = 1e-300
_ROUND = 1000
# In nats of the objective: a gain that is worth a new cluster, and how loose the gap may be.
_AIM = 1e-6
_SLACK = 1e-8
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
        iterations: `[B]`, updates of the encoder.
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
    rate = torch.stack([mutual_information(source.p_x, code.encoder) for code in codes])
    relevance = torch.stack(
        [mutual_information(code.encoder.T @ source.p_x, code.q) for code in codes]
    )
    information = mutual_information(source.p_x, source.p_y)
    # The Lagrangian with the distortion d is beta I(X;Z) + I(X;Y) - I(Z;Y).
    floor = betas * torch.stack([code.floor for code in codes]) - information
    return IBSolution(
        betas=betas,
        rate=rate,
        relevance=relevance,
        encoder=torch.stack([code.encoder[merged] for code in codes]),
        decoder=torch.stack([code.q for code in codes]),
        gap=betas * rate - relevance - floor,
        certified=all(code.certified for code in codes),
        iterations=torch.tensor([code.iterations for code in codes]),
        converged=torch.tensor([code.converged for code in codes]),
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


def _solve(
    source: Source, t: Tensor, clusters: int, tolerance: float, max_iterations: int
) -> _Code:
    w, q = torch.full((clusters,), 1 / clusters).to(t), _spread(source.p_y, clusters)
    encoder = source.p_x.new_zeros(len(source.p_x), clusters)
    iterations, change = 0, math.inf
    while True:
        while change > tolerance and iterations < max_iterations:
            previous = encoder
            encoder, _ = _encode(source, t, w, q)
            w, q = _decode(source, encoder, q)
            change = (encoder - previous).abs().max().item()
            iterations += 1
            if iterations % _ROUND == 0:
                break
        _, log_l = _encode(source, t, w, q)
        peak = highest(source.p_y, source.p_x.log() - log_l, t.item(), q, _SLACK * t.item())
        converged = change <= tolerance
        grown = _grow(w, q, peak.q) if peak.log_value > _AIM * t.item() else None
        if iterations >= max_iterations or (converged and grown is None):
            floor = -(source.p_x @ log_l) - peak.log_bound
            return _Code(encoder, q, floor, peak.certified, iterations, converged)
        if grown is not None:
            (w, q), change = grown, math.inf


def _encode(source: Source, t: Tensor, w: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """p(z|x) `[X, Z]` and log L(x) `[X]` from p(z) and p(y|z)."""
    log_joint = w.log() - t * divergences(source.p_y, q)
    log_l = log_joint.logsumexp(1)
    return (log_joint - log_l[:, None]).exp(), log_l


def _decode(source: Source, encoder: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """p(z) `[Z]` and p(y|z) `[Z, Y]` from p(z|x); a cluster that nothing uses keeps its q."""
    p_xz = source.p_x[:, None] * encoder
    w = p_xz.sum(0)
    return w, torch.where(w[:, None] > 0, p_xz.T @ source.p_y / w[:, None].clamp_min(_TINY), q)


def _grow(w: Tensor, q: Tensor, new: Tensor) -> tuple[Tensor, Tensor] | None:
    """Put `new` in the place of a cluster that is empty or duplicates another; None if none is."""
    distance = (q[:, None] - q).abs().amax(2) + torch.eye(len(w)).to(w)
    distance[w < _EMPTY] = 0
    (spare, kept) = divmod(int(distance.argmin()), len(w))
    if distance[spare, kept] > _SAME_CLUSTER:
        return None
    w, q = w * (1 - 1 / len(w)), q.clone()
    w[kept] += w[spare].clone()
    w[spare], q[spare] = 1 / len(w), new
    return w / w.sum(), q


def _spread(p_y: Tensor, clusters: int) -> Tensor:
    """Rows of p(y|x) far from each other: `[clusters, Y]`, each the farthest from those before."""
    roots = p_y.sqrt()
    chosen = [0]
    nearest = (roots - roots[0]).square().sum(1)
    for _ in range(clusters - 1):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (roots - roots[chosen[-1]]).square().sum(1))
    return p_y[chosen]


def _check_settings(
    betas: Sequence[float] | Tensor, clusters: int, tolerance: float, max_iterations: int
) -> Tensor:
    betas = torch.as_tensor(betas, dtype=torch.float64, device="cpu")
    if betas.dim() != 1 or not len(betas):
        raise InputError(f"betas must be a list of numbers, got shape {list(betas.shape)}")
    if not (torch.isfinite(betas) & (betas >= _SMALLEST_BETA)).all():
        raise InputError(
            f"betas must be finite and at least {_SMALLEST_BETA:g}, got {betas.tolist()}; as "
            "beta -> 0 the relevance tends to I(X;Y)"
        )
    if clusters < 1 or max_iterations < 1 or not tolerance > 0:
        raise InputError(
            "clusters, max_iterations and tolerance must be positive, got "
            f"{clusters}, {max_iterations}, {tolerance}"
        )
    return betas
