"""The deterministic information bottleneck of a joint distribution that is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.checks import ArrayLike, check_count
from narrows.errors import InputError
from narrows.information._checks import check_betas
from narrows.information._joint import Source, mutual_information, reduce, spread
from narrows.information.curve import IBPoint

__all__ = ["DIBSolution", "deterministic_bottleneck"]

_ENTRIES = 2**23
_FIRST = 10
# Up to this number of entries p(z, x, y), twenty starts at a beta take about a second.
_CHEAP = 2**16
_ROUNDS = 100
_MOVES = 10_000
# Moves that gain less than this, in nats, are rounding.
_GAIN = 1e-13


# No generated equality: it would compare tensors, whose truth value is undefined.
@dataclass(frozen=True, eq=False)
class DIBSolution:
    """The deterministic bottleneck at each of B betas, in nats.

    Attributes:
        betas: `[B]`, the weight of compression, in the order in which they were given.
        rate: `[B]`, H(Z) = I(X;Z).
        relevance: `[B]`, I(Z;Y).
        codes: `[B, X]`, f(x), numbered from 0; an x of probability 0 is put where p(z) is largest.
        agreement: `[B]`, share of the starts that ended at an objective as good as the best. Where
            it is small, a better code may have been missed.
        clusters: the largest number of values of Z that was tried.
        information: I(X;Y), the relevance that no code exceeds.
        warning: says at how many betas all `clusters` are used, so that more may be better; None
            where that is the case at none.
    """

    betas: Tensor
    rate: Tensor
    relevance: Tensor
    codes: Tensor
    agreement: Tensor
    clusters: int
    information: float
    warning: str | None

    def points(self) -> list[IBPoint]:
        """The solutions as points of a curve."""
        rows = zip(self.betas.tolist(), self.rate.tolist(), self.relevance.tolist(), strict=True)
        return [IBPoint(*row) for row in rows]


def deterministic_bottleneck(
    joint: ArrayLike,
    betas: ArrayLike,
    clusters: int | None = None,
    restarts: int = 20,
    seed: int = 0,
) -> DIBSolution:
    """Find the best function of x at each beta, by descent from several starts.

        minimise beta H(Z) - I(Z;Y) over functions z = f(x):
        f(x) = argmax_z  log p(z) - d(x, z) / beta,   d(x, z) = KL(p(y|x) || p(y|z))

    The objective is a sum over clusters, of (1 - beta) p(z) log p(z) - sum_y p(z,y) log p(z,y), up
    to a constant, so that the gain of moving one x, or of joining two clusters, is cheap to
    compute. Nobody can tell in general whether the result is the optimum; on tiny joints the tests
    compare it with all partitions.

    Source: Strouse & Schwab (2017), arXiv 1604.00268, eqs. 6 and 11, who minimise H(Z) - beta_S
    I(Z;Y): beta_S = 1 / beta. Deviations: their iteration stops at the first assignment that
    repeats itself, and cannot reopen a cluster that has become empty. Here it is followed by the
    best move of a single x (also to an empty cluster) or the best joining of two clusters until
    neither gains, and the best of several starts is kept. Equal rows of p(y|x) are merged, because
    the objective is concave in how they are divided, so that dividing them never gains.

    Args:
        joint: `[X, Y]`, p(x, y).
        betas: weights of H(Z), above 0; from 1 on nothing is worth its entropy.
        clusters: the largest number of values of Z. None for 10, doubled at the betas where all are
            used, as long as there are more different rows p(y|x) and rows x Y x clusters stays
            below 2^16. `warning` says where that was too few.
        restarts: starts at each beta; the first is spread over the rows, the others are random.
        seed: of the starts.

    Returns:
        The solutions at all betas, in nats.

    Raises:
        InputError: if `joint` is no joint distribution, a beta is not positive, or another setting
            is no whole number that is positive.

    Example:
        >>> joint = torch.tensor([[0.3, 0.0], [0.2, 0.0], [0.0, 0.5]])
        >>> deterministic_bottleneck(joint, [0.5]).codes.tolist()
        [[0, 0, 1]]
    """
    whole = reduce(joint)
    source = whole.source
    betas = check_betas(betas)
    given = None if clusters is None else check_count(clusters, "clusters", error=InputError)
    restarts = check_count(restarts, "restarts", error=InputError)
    seed = check_count(seed, "seed", 0, InputError)
    p_xy = source.p_x[:, None] * source.p_y
    codes, agreement, most = _solve(source, betas, given, restarts, seed)
    p_zy = _gather(p_xy, codes, most)
    p_z = p_zy.sum(2)
    return DIBSolution(
        betas=betas,
        rate=torch.special.entr(p_z).sum(1),
        relevance=mutual_information(p_z, p_zy / p_z.clamp_min(1e-300)[..., None]),
        codes=_renumber(whole.restore_rows(codes, p_z.argmax(1, keepdim=True))),
        agreement=agreement,
        clusters=most,
        information=mutual_information(source.p_x, source.p_y).item(),
        warning=_warning(p_zy, len(p_xy)),
    )


def _solve(
    source: Source, betas: Tensor, clusters: int | None, restarts: int, seed: int
) -> tuple[Tensor, Tensor, int]:
    """As `_best`, and the number of clusters; doubled from 10 where all are used, if it is None."""
    most = clusters or _FIRST
    codes, agreement = _best(source, betas, most, restarts, seed)
    limit = len(source.p_x) if clusters is None else most
    p_xy = source.p_x[:, None] * source.p_y
    while most < limit and 2 * most * p_xy.numel() <= _CHEAP:
        full = F.one_hot(codes, most).amax(1).all(1)
        if not full.any():
            break
        most = min(2 * most, limit)
        more_codes, more_agreement = _best(source, betas[full], most, restarts, seed)
        cost, cost_of_more = (
            _cost(_gather(p_xy, part, most), betas[full, None]).sum(1)
            for part in (codes[full], more_codes)
        )
        better = full.clone()
        better[full] = cost_of_more < cost
        codes[better], agreement[better] = more_codes[better[full]], more_agreement[better[full]]
    return codes, agreement, most


def _best(
    source: Source, betas: Tensor, clusters: int, restarts: int, seed: int
) -> tuple[Tensor, Tensor]:
    """The best of the starts at each beta `[B, X]`, and the share as good as it `[B]`."""
    p_xy = source.p_x[:, None] * source.p_y
    beta = betas.repeat_interleave(restarts)
    codes = _starts(source.p_y, clusters, restarts, seed).repeat(len(betas), 1)
    at_once = max(1, _ENTRIES // (p_xy.numel() * clusters))
    pairs = zip(beta.split(at_once), codes.split(at_once), strict=True)
    codes = torch.cat([_descend(p_xy, *pair, clusters) for pair in pairs])
    objective = _cost(_gather(p_xy, codes, clusters), beta[:, None]).sum(1)
    objective = objective.unflatten(0, (-1, restarts))
    least, best = objective.min(1)
    chosen = codes[best + restarts * torch.arange(len(betas))]
    return chosen, (objective <= least[:, None] + 1e-9).double().mean(1)


def _warning(p_zy: Tensor, rows: int) -> str | None:
    """What to say of codes `[B, Z, Y]` that use all clusters, if any does."""
    full = (p_zy.sum(2) > 0).all(1)
    clusters = p_zy.shape[1]
    if not full.any() or clusters >= rows:
        return None
    return (
        f"at {int(full.sum())} of {len(full)} betas all {clusters} clusters that were tried are "
        f"used; more may be better: give clusters={2 * clusters}"
    )


def _starts(p_y: Tensor, clusters: int, restarts: int, seed: int) -> Tensor:
    """Assignments `[restarts, X]`: one to the nearest of rows far apart, the others at random."""
    apart = torch.cdist(p_y.sqrt(), spread(p_y, clusters).sqrt())
    draw = torch.Generator().manual_seed(seed)
    # Random ones use few clusters as well as many.
    counts = torch.randint(1, clusters + 1, (restarts - 1, 1), generator=draw)
    others = (torch.rand(restarts - 1, len(p_y), generator=draw) * counts).long()
    return torch.cat([apart.argmin(1)[None], others])


def _descend(p_xy: Tensor, beta: Tensor, codes: Tensor, clusters: int) -> Tensor:
    """The iteration, then single moves and joinings until none gains: `[S, X]`."""
    for _ in range(_ROUNDS):
        after = _reassign(p_xy, beta, codes, clusters)
        before = _cost(_gather(p_xy, codes, clusters), beta[:, None]).sum(1)
        better = _cost(_gather(p_xy, after, clusters), beta[:, None]).sum(1) < before - _GAIN
        codes = torch.where(better[:, None], after, codes)
        if not better.any():
            break
    open_ = torch.arange(len(codes))
    for _ in range(_MOVES):
        after, gain = _best_move(p_xy, beta[open_], codes[open_], clusters)
        joined, gain_joined = _best_joining(p_xy, beta[open_], codes[open_], clusters)
        after = torch.where((gain_joined > gain)[:, None], joined, after)
        moving = torch.maximum(gain, gain_joined) > _GAIN
        open_ = open_[moving]
        if not len(open_):
            break
        codes[open_] = after[moving]
    return codes


def _reassign(p_xy: Tensor, beta: Tensor, codes: Tensor, clusters: int) -> Tensor:
    """One step of the iteration."""
    p_zy = _gather(p_xy, codes, clusters)
    p_z, p_x = p_zy.sum(2), p_xy.sum(1)
    log_q = (p_zy / p_z.clamp_min(1e-300)[..., None]).clamp_min(1e-300).log()
    score = p_z.log()[:, None] + (p_xy / p_x[:, None]) @ log_q.mT / beta[:, None, None]
    return score.argmax(2)


def _best_move(p_xy: Tensor, beta: Tensor, codes: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """The assignments after the best move of one x each, and what it gains: `[S]`."""
    p_zy = _gather(p_xy, codes, clusters)
    b = beta[:, None]
    now = _cost(p_zy, b)
    home = codes[..., None].expand(-1, -1, p_xy.shape[1])
    leaving = now.gather(1, codes) - _cost((p_zy.gather(1, home) - p_xy).clamp_min(0), b)
    joining = now[:, None] - _cost(p_zy[:, None] + p_xy[:, None], b[..., None])
    gain = (leaving[..., None] + joining).scatter(2, codes[..., None], -torch.inf)
    best, at = gain.flatten(1).max(1)
    after = codes.clone()
    after[torch.arange(len(codes)), at // clusters] = at % clusters
    return after, best


def _best_joining(
    p_xy: Tensor, beta: Tensor, codes: Tensor, clusters: int
) -> tuple[Tensor, Tensor]:
    """The assignments after the best joining of two clusters each, and what it gains: `[S]`."""
    p_zy = _gather(p_xy, codes, clusters)
    now = _cost(p_zy, beta[:, None])
    both = _cost(p_zy[:, :, None] + p_zy[:, None], beta[:, None, None])
    gain = now[:, :, None] + now[:, None] - both
    gain.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    best, at = gain.flatten(1).max(1)
    kept, gone = (at // clusters)[:, None], (at % clusters)[:, None]
    return torch.where(codes == gone, kept, codes), best


def _gather(p_xy: Tensor, codes: Tensor, clusters: int) -> Tensor:
    """p(z, y) of assignments: `[S, Z, Y]`."""
    return F.one_hot(codes, clusters).to(p_xy).mT @ p_xy


def _cost(p_zy: Tensor, beta: Tensor) -> Tensor:
    """What each cluster adds to beta H(Z) - I(Z;Y), up to a constant: `[..., Y]` to `[...]`."""
    p_z = p_zy.sum(-1)
    return (1 - beta) * torch.special.xlogy(p_z, p_z) - torch.special.xlogy(p_zy, p_zy).sum(-1)


def _renumber(codes: Tensor) -> Tensor:
    """Number the clusters of each code from 0, in the order in which they occur."""
    rows = []
    for code in codes:
        _, inverse = code.unique(return_inverse=True)
        first = torch.full((int(inverse.max()) + 1,), len(code))
        first.scatter_reduce_(0, inverse, torch.arange(len(code)), "amin")
        rows.append(first.argsort().argsort()[inverse])
    return torch.stack(rows)
