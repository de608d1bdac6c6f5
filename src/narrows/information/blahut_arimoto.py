"""Blahut-Arimoto for the information bottleneck, as it is published: the readable twin."""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.checks import ArrayLike, check_count, check_number
from narrows.errors import InputError
from narrows.information._certificate import highest
from narrows.information._checks import check_betas
from narrows.information._clusters import Clusters, encode, update
from narrows.information._joint import Joint, Source, reduce
from narrows.information.discrete_ib import Codes, IBSolution, solution_of

__all__ = ["blahut_arimoto"]

_STAGES = 12
_WEAKER = 100.0
_SMALLEST_BETA = 1e-9
_SLACK = 1e-9
_REMEDY = (
    "give more clusters, restarts or iterations, or a smaller tolerance, or use "
    "information_bottleneck"
)


def blahut_arimoto(
    joint: ArrayLike,
    betas: ArrayLike,
    clusters: int = 10,
    tolerance: float = 1e-6,
    restarts: int = 3,
    max_iterations: int = 20_000,
    seed: int = 0,
) -> IBSolution:
    """Solve the information bottleneck of a joint distribution by the plain iteration.

        minimise beta I(X;Z) - I(Z;Y) over p(z|x):
        p(z|x) = p(z) exp(-d(x, z) / beta) / L(x),   d(x, z) = KL(p(y|x) || p(y|z))
        p(z) = sum_x p(x) p(z|x),   p(y|z) = sum_x p(y|x) p(x|z)

    The iteration converges to a stationary point, which need not be the optimum. It is run from
    several random starts. Each is annealed from a hundredth of beta up to the beta that was given,
    so that unneeded clusters merge, and the best result is kept. Near a phase transition the steps
    become small long before the optimum is reached; the gap says how far away it is.
    `information_bottleneck` solves the same problem exactly.

    Source: Tishby, Pereira & Bialek (1999), arXiv physics/0004057, eqs. 25 to 28, whose beta is the
    inverse; Zhai & Zhang (2021), arXiv 2103.00381, eq. 8.

    Args:
        joint: as `information_bottleneck` takes it.
        betas: likewise.
        clusters: number of values that Z can take.
        tolerance: iterate until no p(z|x) changes by more; also the largest gap, in nats, of a
            solution that `converged`.
        restarts: random starts, of which the best is kept.
        max_iterations: the largest number of updates in each stage of the annealing.
        seed: of the starts.

    Returns:
        The solutions with their gaps to the optimum, in nats.

    Raises:
        InputError: if `joint` is no joint distribution, a beta is below 1e-9, another setting is
            not positive, or a count no whole number.

    Example:
        >>> joint = torch.tensor([[0.45, 0.05], [0.05, 0.45]])
        >>> round(blahut_arimoto(joint, [0.1]).relevance.item(), 3)
        0.368
    """
    whole = reduce(joint)
    source = whole.source
    betas = check_betas(betas, _SMALLEST_BETA)
    clusters = check_count(clusters, "clusters", error=InputError)
    restarts = check_count(restarts, "restarts", error=InputError)
    max_iterations = check_count(max_iterations, "max_iterations", error=InputError)
    tolerance = check_number(tolerance, "tolerance", above=0, error=InputError)
    draw = torch.Generator().manual_seed(check_count(seed, "seed", 0, error=InputError))
    t = (1 / betas).repeat(restarts)
    size = (len(t), len(source.p_x), clusters)
    encoder = torch.rand(size, generator=draw, dtype=torch.float64)
    encoder = encoder / encoder.sum(2, keepdim=True)
    empty = Clusters(t.new_zeros(size[::2]), t.new_zeros(*size[::2], source.p_y.shape[1]))
    state = update(source, encoder, empty)
    made = torch.zeros(len(t), dtype=torch.int64)
    for stage in range(1, _STAGES + 1):
        weaker = _WEAKER ** (1 - stage / _STAGES)
        state = _iterate(source, weaker * t, state, tolerance, max_iterations, made)
    return _best_of(whole, betas, state, made, restarts, tolerance)


def _iterate(
    source: Source, t: Tensor, clusters: Clusters, tolerance: float, steps: int, made: Tensor
) -> Clusters:
    """Alternate until no encoder changes, and count the updates in `made`."""
    rows = torch.arange(len(t))
    before, _ = encode(source, t, clusters)
    for _ in range(steps):
        clusters.put(rows, update(source, before, clusters.take(rows)))
        after, _ = encode(source, t[rows], clusters.take(rows))
        made[rows] += 1
        moving = (after - before).abs().amax((1, 2)) > tolerance
        rows, before = rows[moving], after[moving]
        if not len(rows):
            break
    return clusters


def _best_of(
    whole: Joint,
    betas: Tensor,
    clusters: Clusters,
    made: Tensor,
    restarts: int,
    tolerance: float,
) -> IBSolution:
    """The best of the starts, with its gap."""
    source = whole.source
    t = 1 / betas
    _, log_l = encode(source, t.repeat(restarts), clusters)
    best = (log_l @ source.p_x).unflatten(0, (restarts, len(betas))).argmax(0)
    rows = best * len(betas) + torch.arange(len(betas))
    clusters, log_l = clusters.take(rows), log_l[rows]
    peaks = highest(source, log_l, t, clusters.q, _SLACK)
    floor = -(log_l @ source.p_x) - peaks.log_bound
    codes = Codes(clusters, floor, made[rows], torch.zeros_like(t).bool())
    return solution_of(whole, betas, codes, tolerance, _REMEDY)
