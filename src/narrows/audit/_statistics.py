"""Whether a difference between counts of images is more than sampling error.

    share above a bound   P(Binomial(n, bound) >= k) < 1 %             exact binomial test
    paired difference     P(Binomial(b + c, 1/2) >= b) < 1 %           McNemar's exact test

with b and c the images that only one of two attacks fooled. Both are one-sided. The images of an
audit are a sample, so an objection needs a count that chance would rarely produce.

Source: McNemar (1947), Psychometrika 12; Wilson (1927), JASA 22, for the interval.
"""

from __future__ import annotations

from scipy.stats import binomtest
from torch import Tensor

from narrows.attacks.ledger import wilson

__all__ = ["interval", "more_often", "more_than", "only_first"]

LEVEL = 0.01


def interval(successes: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    >>> [round(end, 3) for end in interval(30, 100)]
    [0.219, 0.396]
    """
    return wilson(successes, count)


def more_than(successes: int, count: int, bound: float) -> bool:
    """Whether a share exceeds a bound by more than sampling error.

    Args:
        successes: out of `count`.
        count: number of trials.
        bound: the share that may not be exceeded.

    >>> more_than(6, 100, 0.02), more_than(7, 100, 0.02)
    (False, True)
    """
    if not count:
        return False
    return float(binomtest(successes, count, bound, alternative="greater").pvalue) < LEVEL


def more_often(first: Tensor, second: Tensor) -> bool:
    """Whether `first: [n]` bool holds for more images than `second`, beyond sampling error."""
    only = int(only_first(first, second).sum())
    other = int(only_first(second, first).sum())
    if not only:
        return False
    return float(binomtest(only, only + other, 0.5, alternative="greater").pvalue) < LEVEL


def only_first(first: Tensor, second: Tensor) -> Tensor:
    """`[n]` bool: the images for which `first` holds and `second` does not."""
    return first & ~second
