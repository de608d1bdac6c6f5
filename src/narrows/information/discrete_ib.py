"""The exact information bottleneck of a joint distribution that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.checks import ArrayLike, check_count, check_number
from narrows.errors import InputError
from narrows.information._certificate import highest
from narrows.information._checks import check_betas
from narrows.information._clusters import Clusters, encode, grow, pad, start, trim, update
from narrows.information._joint import Joint, Source, coarsen, mutual_information, reduce, spread
from narrows.information._newton import climb
from narrows.information.curve import IBPoint

__all__ = ["Codes", "IBSolution", "information_bottleneck", "solution_of"]

# The gain that is worth a new cluster, and how loose the bound of the gap may be: in nats, or in
# units of I(X;Y) where that is below 1, because a weak dependence has a flat optimum.
_AIM = 6e-10
_SLACK = 2e-10
_ROUGH_AIM = 1e-6
# Rounding errors of log c, in units of 1 + t.
_NOISE = 4e-15
_LEAST = 1e-9
_ROUNDS = 40
_LEADING = 12
_CLIMB = 60
# Clusters nearer to each other than this, in units of their reach, are merged: 0.3 in the first
# round, then ever less.
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
        betas: `[B]`, the weight of compression, in the order in which they were given.
        rate: `[B]`, I(X;Z).
        relevance: `[B]`, I(Z;Y).
        encoder: `[B, X, Z]`, p(z|x); a z that no x is encoded as is empty, and an x of probability
            0 has p(z).
        decoder: `[B, Z, Y]`, p(y|z).
        gap: `[B]`, how far `beta I(X;Z) - I(Z;Y)` can be above the optimum over all encoders, also
            those with more clusters.
        certified: whether the gap is proven (two classes) or the result of a search (more).
        iterations: `[B]`, updates made.
        converged: `[B]` bool, whether the gap is within the tolerance.
        information: I(X;Y), the relevance that no code exceeds.
        warning: why some betas have not converged, and what to do; None if all have.
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
    warning: str | None

    def points(self) -> list[IBPoint]:
        """The solutions as points of the IB curve."""
        rows = zip(self.betas.tolist(), self.rate.tolist(), self.relevance.tolist(), strict=True)
        return [IBPoint(*row) for row in rows]

    @property
    def support(self) -> Tensor:
        """`[B]`, how many values of z are used."""
        return (self.encoder.amax(1) > 0).sum(1)


def information_bottleneck(
    joint: ArrayLike,
    betas: ArrayLike,
    clusters: int | None = None,
    tolerance: float = 1e-9,
) -> IBSolution:
    """Solve the information bottleneck of `joint` at each beta, with a bound on the error.

        minimise beta I(X;Z) - I(Z;Y) over p(z|x)

    Source: Tishby, Pereira & Bialek (1999), arXiv physics/0004057, who minimise I(X;Z) - beta_T
    I(Z;Y): beta_T = 1 / beta. Zhai & Zhang (2021), arXiv 2103.00381, have this beta in eq. 3 and
    beta_T in eq. 8. Deviations: the iteration of Tishby et al. (`blahut_arimoto`) only finds a
    stationary point, and is slow where clusters split. Here a few of its steps, from decoders
    spread over the rows p(y|x), begin Newton's method. Decoders q that the code would gain from are
    searched for (`_certificate.py`) and become clusters, until there are none. The same search
    bounds the gap to the optimum, which needs no more clusters than there are different rows p(y|x)
    (Lindsay 1983, "The Geometry of Mixture Likelihoods", whose problem this is). If there are many
    rows of two classes, fewer rows are solved roughly first. All betas are solved at once.

    Args:
        joint: `[X, Y]`, p(x, y).
        betas: weights of I(X;Z), above 0. As beta -> 0 the relevance tends to I(X;Y); from a
            critical beta <= 1 on nothing is worth its rate, and both informations are 0.
        clusters: the largest number of values of Z; None for as many as the optimum needs. Where
            fewer leave a gap, `warning` says so.
        tolerance: the largest gap, in nats, of a solution that `converged`.

    Returns:
        The solutions at all betas, in nats.

    Raises:
        InputError: if `joint` is no joint distribution, a beta is below 1e-9, or another setting is
            not positive.

    Example:
        >>> joint = torch.tensor([[0.45, 0.05], [0.05, 0.45]])
        >>> solution = information_bottleneck(joint, [0.1, 0.5])
        >>> [round(point.relevance, 3) for point in solution.points()]
        [0.368, 0.282]
    """
    whole = reduce(joint)
    source = whole.source
    betas = check_betas(betas, _SMALLEST_BETA)
    cap = None if clusters is None else check_count(clusters, "clusters", error=InputError)
    tolerance = check_number(tolerance, "tolerance", above=0, error=InputError)
    at_once = max(1, _ENTRIES // _entries(source, betas, cap))
    parts = [_solve(source, 1 / part, cap or len(source.p_x)) for part in betas.split(at_once)]
    return solution_of(
        whole, betas, Codes.join(parts, cap), tolerance, "the search found no better code"
    )


def _entries(source: Source, betas: Tensor, cap: int | None) -> int:
    """Approximate number of entries of the largest table for each beta."""
    x, y = source.p_y.shape
    wanted = int(_distinguishable(source, 1 / betas).max().clamp_max(x))
    return x * min(wanted, cap or x) * (1 if y == 2 else y)


class Codes(NamedTuple):
    """B codes, and what is known about each.

    Attributes:
        clusters: p(z) and p(y|z).
        floor: `[B]`, a lower bound of I(X;Z) + t E d over all codes.
        iterations: `[B]`, updates made.
        full: `[B]` bool, where the largest number of clusters kept a code from gaining.
    """

    clusters: Clusters
    floor: Tensor
    iterations: Tensor
    full: Tensor

    @staticmethod
    def join(parts: Sequence[Codes], width: int | None) -> Codes:
        """Put the codes of several groups of betas one after the other, `width` clusters each."""
        width = width or max(part.clusters.w.shape[1] for part in parts)
        padded = [pad(part.clusters, width) for part in parts]
        joined = Clusters(*(torch.cat(part) for part in zip(*padded, strict=True)))
        others = zip(*(part[1:] for part in parts), strict=True)
        return Codes(joined, *(torch.cat(part) for part in others))


def solution_of(
    whole: Joint, betas: Tensor, codes: Codes, tolerance: float, otherwise: str
) -> IBSolution:
    """The solution that codes of a reduced joint stand for, after one more update.

    Args:
        whole: the joint with the record of its reduction.
        betas: `[B]`.
        codes: one for each beta.
        tolerance: the largest gap, in nats, of a solution that `converged`.
        otherwise: what to say of a gap that the largest number of clusters does not explain.
    """
    source = whole.source
    encoder, _ = encode(source, 1 / betas, codes.clusters)
    clusters = update(source, encoder, codes.clusters)
    last, _ = encode(source, 1 / betas, clusters)
    # Products of smaller probabilities would underflow.
    last = torch.where(last < _TINY, 0.0, last)
    q = update(source, last, clusters).q
    p_z = (last * source.p_x[:, None]).sum(1)
    rate = mutual_information(source.p_x, last)
    relevance = mutual_information(p_z, q)
    information = mutual_information(source.p_x, source.p_y)
    # The Lagrangian with the distortion d is beta I(X;Z) + I(X;Y) - I(Z;Y).
    floor = betas * codes.floor - information
    # Only rounding can make it negative.
    gap = (betas * rate - relevance - floor).clamp_min(0)
    return IBSolution(
        betas=betas,
        rate=rate,
        relevance=relevance,
        encoder=whole.restore_rows(last, p_z[:, None]),
        decoder=whole.restore_classes(q),
        gap=gap,
        certified=source.p_y.shape[1] == 2,
        iterations=codes.iterations,
        converged=gap <= tolerance,
        information=information.item(),
        warning=_warning(gap, codes.full, tolerance, otherwise),
    )


def _warning(gap: Tensor, full: Tensor, tolerance: float, otherwise: str) -> str | None:
    """Why betas have not converged."""
    wide = gap > tolerance
    if not wide.any():
        return None
    why = "the optimum needs more clusters than were allowed; give more, or leave `clusters` out"
    if not (wide & full).any():
        why = otherwise
    return (
        f"at {int(wide.sum())} of {len(gap)} betas the gap is above the tolerance of "
        f"{tolerance:g} nats, up to {gap.max().item():.2g}: {why}"
    )


def _solve(source: Source, t: Tensor, most: int) -> Codes:
    if source.p_y.shape[1] > 2 or len(source.p_x) <= _MANY_ROWS:
        return _improve(source, t, _lead(source, t, most), most, _AIM)
    coarse = coarsen(source, _CELLS)
    rough = _improve(coarse, t, _lead(coarse, t, most), most, _ROUGH_AIM)
    fine = _improve(source, t, rough.clusters, most, _AIM)
    return fine._replace(iterations=rough.iterations + fine.iterations)


def _distinguishable(source: Source, t: Tensor) -> Tensor:
    """Approximate number of decoders that can be told apart: `[B]`."""
    return (2 + 1.2 * t.sqrt()) ** (source.p_y.shape[1] - 1)


def _lead(source: Source, t: Tensor, most: int) -> Clusters:
    """A few updates of Blahut and Arimoto from decoders spread over the rows."""
    wanted = _distinguishable(source, t)
    count = min(most, len(source.p_x), int(wanted.max().clamp_max(most)) + 1)
    clusters = start(spread(source.p_y, count), len(t))
    w = (torch.arange(count) < wanted[:, None]).to(t)
    clusters = trim(Clusters(w / w.sum(1, keepdim=True), clusters.logits))
    for _ in range(_LEADING):
        clusters = update(source, encode(source, t, clusters)[0], clusters)
    return clusters


def _improve(source: Source, t: Tensor, clusters: Clusters, most: int, aim: float) -> Codes:
    """Alternate between Newton's method and adding the decoders that a code gains most from."""
    codes = Codes(
        clusters, torch.zeros_like(t), torch.full((len(t),), _LEADING), torch.zeros_like(t).bool()
    )
    rows = torch.arange(len(t))
    unit = mutual_information(source.p_x, source.p_y).clamp(_LEAST, 1).item()
    for round_ in range(_ROUNDS):
        near = max(_NEAR / 10**round_, _NEAREST)
        better, steps = climb(source, t[rows], trim(clusters.take(rows)), near, _CLIMB)
        _, log_l = encode(source, t[rows], better)
        peaks = highest(source, log_l, t[rows], better.q, _SLACK * unit)
        clusters = _put(clusters, rows, better)
        codes.floor[rows] = -(log_l @ source.p_x) - peaks.log_bound
        codes.iterations[rows] += steps
        least = torch.maximum(aim * unit * t[rows], _NOISE * (1 + t[rows]))
        worth = peaks.log_value > least[:, None]
        grown, could = grow(source, t[rows], better, peaks.q, worth, most)
        codes.full[rows] = worth[:, 0] & ~could
        rows = rows[could]
        if not len(rows):
            break
        clusters = _put(clusters, rows, grown.take(could))
    return codes._replace(clusters=trim(clusters))


def _put(clusters: Clusters, rows: Tensor, others: Clusters) -> Clusters:
    """Clusters with those of some bottlenecks replaced."""
    width = max(clusters.w.shape[1], others.w.shape[1])
    clusters = pad(clusters, width)
    clusters.put(rows, pad(others, width))
    return clusters
