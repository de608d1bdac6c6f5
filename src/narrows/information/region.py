"""The achievable region of the bottleneck of a known joint, and its phase transitions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_count, check_number
from narrows.errors import InputError
from narrows.information.curve import IBPoint
from narrows.information.discrete_ib import IBSolution, information_bottleneck
from narrows.information.learnability import learnability

__all__ = ["PhaseTransition", "Region", "achievable_region", "phase_transitions"]

_DECADES = 3.0
_ROUNDS = 12
_NOTHING = 1e-9


class PhaseTransition(NamedTuple):
    """A beta at which the number of values that the best code uses changes.

    Attributes:
        beta: of the change.
        above: number of values at larger betas.
        below: number of values at smaller betas.
    """

    beta: float
    above: int
    below: int


# No generated equality: it would compare tensors, whose truth value is undefined.
@dataclass(frozen=True, eq=False)
class Region:
    """The achievable region of one joint distribution, in nats.

    Attributes:
        solution: the points of the curve that were solved.
        beta_0: the slope of the curve at 0, which no code exceeds.
        information: I(X;Y), which no relevance exceeds.
    """

    solution: IBSolution
    beta_0: float
    information: float

    def curve(self) -> list[IBPoint]:
        """The curve by rising rate, from (0, 0) at `beta_0`."""
        start = IBPoint(self.beta_0, 0.0, 0.0)
        return [start, *sorted(self.solution.points(), key=lambda point: -point.beta)]

    def bound(self, rate: ArrayLike) -> Tensor:
        """The largest I(Z;Y) of any code of the given rates, proven for two classes: `[...]`."""
        rates = as_tensor(rate, "rate").to("cpu", torch.float64)
        solved = self.solution
        offset = solved.relevance - solved.betas * solved.rate + solved.gap
        lines = (solved.betas * rates[..., None] + offset).amin(-1)
        return torch.minimum(lines, self.beta_0 * rates).clamp_max(self.information)

    def rows(self, count: int = 200) -> list[dict[str, str | float]]:
        """Lines to draw: `bound` (its name), `rate` and `relevance`, `count` points of each."""
        longest = max(self.solution.rate.max().item(), self.information)
        rates = torch.linspace(0, longest, count, dtype=torch.float64)
        lines = {
            "exact bound": self.bound(rates),
            "I(Z;Y) = I(X;Z)": rates.clamp_max(self.information),
            "I(Z;Y) = beta_0 I(X;Z)": (self.beta_0 * rates).clamp_max(self.information),
            "I(Z;Y) = I(X;Y)": torch.full_like(rates, self.information),
        }
        return [
            {"bound": name, "rate": rate, "relevance": relevance}
            for name, line in lines.items()
            for rate, relevance in zip(rates.tolist(), line.tolist(), strict=True)
        ]


def achievable_region(
    joint: ArrayLike, betas: ArrayLike | None = None, clusters: int | None = None
) -> Region:
    """Solve the IB curve of a joint distribution and bound what any code can reach.

        R = { (I(X;Z), I(Z;Y)) over all p(z|x) } = everything on and below the IB curve
        I(Z;Y) <= min_beta ( beta I(X;Z) + I(Z;Y)_beta - beta I(X;Z)_beta + gap_beta ),   I(X;Y)

    Everything below the curve is reached: a code that is used for a share of the time and withheld
    for the rest lowers both informations in proportion, and noise on z that Y does not depend on
    lowers I(Z;Y) alone. Each solved beta gives a line of slope beta that no code exceeds; the gap
    of the solution moves it up. The line through 0 of slope beta_0 is the strong data-processing
    inequality.

    Source: Tishby, Pereira & Bialek (1999), arXiv physics/0004057; for the region Witsenhausen &
    Wyner (1975), "A Conditional Entropy Bound for a Pair of Discrete Random Variables".

    Args:
        joint: `[X, Y]`, p(x, y).
        betas: at which the curve is solved; None for 60 values from beta_0 / 1,000 up, dense at
            beta_0.
        clusters: as in `information_bottleneck`.

    Returns:
        The region, in nats.

    Raises:
        InputError: if `joint` is no joint distribution, or X and Y are independent.

    Example:
        >>> region = achievable_region(torch.tensor([[0.45, 0.05], [0.05, 0.45]]))
        >>> round(region.bound([0.1]).item(), 4), round(region.beta_0, 4)
        (0.0632, 0.64)
    """
    beta_0 = learnability(joint).beta_0
    if betas is None:
        _check(beta_0)
        betas = beta_0 / (1 + 10 ** torch.linspace(_DECADES, -_DECADES, 60, dtype=torch.float64))
    solution = information_bottleneck(joint, betas, clusters)
    return Region(solution, beta_0, solution.information)


def phase_transitions(
    joint: ArrayLike, lowest: float, clusters: int | None = None, grid: int = 100
) -> list[PhaseTransition]:
    """Find the betas down to `lowest` at which the best code gains or loses a value, falling.

    They are read off the exact solutions, to about a thousandth of beta, since clusters nearer than
    a hundredth of their reach count as one. Two that cancel between neighbours of the grid are
    missed.

    Source: the betas at which clusters split are the phase transitions of Wu & Fischer (2020),
    arXiv 2001.01878, who give conditions for them.

    Args:
        joint: `[X, Y]`, p(x, y).
        lowest: the smallest beta to look at.
        clusters: as in `information_bottleneck`.
        grid: number of betas from `lowest` to the first transition, beta_0, that are solved first.

    Raises:
        InputError: if `joint` is no joint distribution, X and Y are independent, or `lowest` is not
            below beta_0.

    Example:
        >>> [transition] = phase_transitions(torch.tensor([[0.45, 0.05], [0.05, 0.45]]), 0.1)
        >>> round(transition.beta, 3), transition.above, transition.below
        (0.64, 1, 2)
    """
    beta_0 = learnability(joint).beta_0
    _check(beta_0)
    lowest = check_number(lowest, "lowest", error=InputError)
    grid = check_count(grid, "grid", 2, error=InputError)
    if not 0 < lowest < beta_0:
        raise InputError(f"lowest must lie between 0 and beta_0 = {beta_0:g}, got {lowest:g}")
    betas = torch.logspace(math.log10(lowest), math.log10(beta_0), grid, dtype=torch.float64)
    betas = betas.flip(0)
    # From beta_0 on nothing passes: one value.
    support = information_bottleneck(joint, betas, clusters).support
    support[0] = 1
    change = (support.diff() != 0).nonzero()[:, 0]
    high, low = betas[change], betas[change + 1]
    above, below = support[change], support[change + 1]
    for _ in range(_ROUNDS if len(change) else 0):
        middle = (high * low).sqrt()
        between = information_bottleneck(joint, middle, clusters).support
        upper = between == above
        high, low = torch.where(upper, middle, high), torch.where(upper, low, middle)
    rows = zip((high * low).sqrt().tolist(), above.tolist(), below.tolist(), strict=True)
    return [PhaseTransition(*row) for row in rows]


def _check(beta_0: float) -> None:
    if beta_0 < _NOTHING:
        raise InputError("X and Y are independent: there is no curve")
