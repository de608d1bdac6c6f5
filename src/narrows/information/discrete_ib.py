"""The exact information bottleneck of a joint distribution that is known.

    minimise beta I(X;Z) - I(Z;Y) over p(z|x)

Source: Tishby, Pereira & Bialek (1999), arXiv physics/0004057, who minimise
I(X;Z) - beta_T I(Z;Y): beta_T = 1 / beta. Zhai & Zhang (2021), arXiv 2103.00381, have our beta in
eq. 3 and beta_T in eq. 8.

Deviations: the iteration of Tishby et al. (`blahut_arimoto.py`) only finds a stationary point,
slowly where clusters split. Here it only leads Newton's method (`_newton.py`) to its basin, from
decoders spread over the rows p(y|x). As long as a decoder q is found (`_certificate.py`) that the
code would gain from, q becomes a cluster in the place of an empty one. The same search bounds the
gap to the optimum. Equal rows of p(y|x) are merged first, which changes nothing: the best encoder
treats them alike. Many rows of two classes are solved roughly on fewer ones first. All betas are
solved at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.errors import InputError
from narrows.information._certificate import highest
from narrows.information._checks import check_betas
from narrows.information._clusters import Clusters, encode, grow, pad, start, trim, update
from narrows.information._joint import (
    Source,
    check_joint,
    coarsen,
    merge_rows,
    mutual_information,
    spread,
)
from narrows.information._newton import climb
from narrows.information.curve import IBPoint

__all__ = ["Codes", "IBSolution", "information_bottleneck", "solution_of"]

# In nats, or in units of I(X;Y) where that is less, since a weak dependence has a flat optimum: the
# gain that is worth a new cluster, and how loose the gap may be.
_AIM = 6e-10
_SLACK = 2e-10
_ROUGH_AIM = 1e-6
_LEAST = 1e-9
_ROUNDS = 12
_LEADING = 12
_CLIMB = 60
# How near clusters are merged, in units of their reach: first 0.3, then ever less.
_NEAR, _NEAREST = 0.3, 0.01
_CELLS = 128
_MANY_ROWS = 400
_ENTRIES = 2**20
_TINY = 1e-100
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
        encoder: `[B, X, Z]`, p(z|x); a z that nothing is encoded as is empty.
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

    @property
    def support(self) -> Tensor:
        """`[B]`, how many values of z are used."""
        return (self.encoder.amax(1) > 0).sum(1)


def information_bottleneck(
    joint: Tensor, betas: Sequence[float] | Tensor, clusters: int = 10, tolerance: float = 1e-9
) -> IBSolution:
    """Solve the information bottleneck of `joint` at each beta, with a bound on the error.

    Args:
        joint: `[X, Y]`, p(x, y); every x has some probability.
        betas: weights of I(X;Z), above 0. As beta -> 0 the relevance tends to I(X;Y); from a
            critical beta <= 1 on nothing is worth its rate, and both informations are 0.
        clusters: number of values that Z can take. If a gap stays although the iteration has
            converged, the optimum may want more.
        tolerance: how far a last update may change a p(z|x) of a solution that `converged`.

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
    betas = check_betas(betas, _SMALLEST_BETA)
    if not (clusters > 0 and tolerance > 0):
        raise InputError(
            f"settings must be positive, got clusters {clusters} and tolerance {tolerance}"
        )
    at_once = max(1, _ENTRIES // (len(source.p_x) * clusters))
    codes = Codes.join([_solve(source, 1 / part, clusters) for part in betas.split(at_once)])
    return solution_of(source, merged, betas, codes, tolerance)


class Codes(NamedTuple):
    """B codes: clusters, a floor `[B]` of I(X;Z) + t E d over all codes, and updates made `[B]`."""

    clusters: Clusters
    floor: Tensor
    iterations: Tensor

    @staticmethod
    def join(parts: Sequence[Codes]) -> Codes:
        """Put the codes of several groups of betas one after the other."""
        clusters, *others = zip(*parts, strict=True)
        joined = Clusters(*(torch.cat(part) for part in zip(*clusters, strict=True)))
        return Codes(joined, *(torch.cat(part) for part in others))


def solution_of(
    source: Source, merged: Tensor, betas: Tensor, codes: Codes, tolerance: float
) -> IBSolution:
    """What codes of a merged source stand for after one more update, and how good it is."""
    encoder, _ = encode(source, 1 / betas, codes.clusters)
    clusters = update(source, encoder, codes.clusters)
    last, _ = encode(source, 1 / betas, clusters)
    # Products of what is so small would underflow.
    last = torch.where(last < _TINY, 0.0, last)
    change = (last - encoder).abs().amax((1, 2))
    q = update(source, last, clusters).q
    rate = mutual_information(source.p_x, last)
    relevance = mutual_information((last * source.p_x[:, None]).sum(1), q)
    information = mutual_information(source.p_x, source.p_y)
    # The Lagrangian with the distortion d is beta I(X;Z) + I(X;Y) - I(Z;Y).
    floor = betas * codes.floor - information
    return IBSolution(
        betas=betas,
        rate=rate,
        relevance=relevance,
        encoder=last[:, merged],
        decoder=q,
        # It is below 0 by rounding only.
        gap=(betas * rate - relevance - floor).clamp_min(0),
        certified=source.p_y.shape[1] == 2,
        iterations=codes.iterations,
        converged=change <= tolerance,
        information=information.item(),
    )


def _solve(source: Source, t: Tensor, count: int) -> Codes:
    if source.p_y.shape[1] > 2 or len(source.p_x) <= _MANY_ROWS:
        return _improve(source, t, _lead(source, t, count), count, _AIM)
    few = coarsen(source, _CELLS)
    rough = _improve(few, t, _lead(few, t, count), count, _ROUGH_AIM)
    fine = _improve(source, t, rough.clusters, count, _AIM)
    return fine._replace(iterations=rough.iterations + fine.iterations)


def _lead(source: Source, t: Tensor, count: int) -> Clusters:
    """A few updates of Blahut and Arimoto from decoders spread over the rows."""
    clusters = start(spread(source.p_y, count), len(t))
    # As many as can be told apart at this beta.
    wanted = (2 + 1.2 * t.sqrt()) ** (source.p_y.shape[1] - 1)
    w = (torch.arange(count) < wanted[:, None]).to(t)
    clusters = trim(Clusters(w / w.sum(1, keepdim=True), clusters.logits))
    for _ in range(_LEADING):
        clusters = update(source, encode(source, t, clusters)[0], clusters)
    return clusters


def _improve(source: Source, t: Tensor, clusters: Clusters, count: int, aim: float) -> Codes:
    """Alternate between climbing and adding the decoder that a code would gain most from."""
    codes = Codes(pad(clusters, count), torch.zeros_like(t), torch.full((len(t),), _LEADING))
    rows = torch.arange(len(t))
    unit = mutual_information(source.p_x, source.p_y).clamp(_LEAST, 1).item()
    for round_ in range(_ROUNDS):
        near = max(_NEAR / 10**round_, _NEAREST)
        better, steps = climb(source, t[rows], trim(codes.clusters.take(rows)), near, _CLIMB)
        _, log_l = encode(source, t[rows], better)
        peaks = highest(source, log_l, t[rows], better.q, _SLACK * unit)
        codes.clusters.put(rows, pad(better, count))
        codes.floor[rows] = -(log_l @ source.p_x) - peaks.log_bound
        codes.iterations[rows] += steps
        gains = peaks.log_value > aim * unit * t[rows]
        grown, could = grow(source, t[rows], codes.clusters.take(rows), peaks.q)
        rows = rows[gains & could]
        if not len(rows):
            break
        codes.clusters.put(rows, grown.take(gains & could))
    return codes
