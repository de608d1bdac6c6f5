"""What may be claimed: one of five outcomes, in one sentence with its numbers.

    reached = share of images that nothing fooled,   with Wilson's 95 % interval
    claimed = accuracy under PGD on the cross-entropy, one restart, one draw a step
    chance  = 1 / number of classes

| outcome       | when                                                                        |
|---------------|-----------------------------------------------------------------------------|
| overestimated | something is more than 5 points below what was claimed, and a check says    |
|               | why, or the claim was somebody's                                            |
| not robust    | nothing is, and what is left is not above chance                            |
| attack failed | it is, but a check shows that the attacks cannot see what they climb        |
| inconclusive  | they can, yet accuracy still falls with effort, or the images are too few   |
| holds         | none of these                                                               |

The first that applies is the verdict. Not above chance means that the interval reaches down to it:
nobody need look for reasons to doubt a robustness that a guess would have too. An interval wider
than a quarter says so little that then `reached` itself must be at chance or below.

Where nobody claimed anything and no check objects, a stronger attack that gets further than PGD is
no accusation: the accuracy reached is the claim, and the sentence says what PGD alone left.

An attack that fools less at the gray radius than chance allows has failed, whatever it reports: the
ones that got furthest are tried there on the images that are left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from narrows.attacks.ledger import wilson
from narrows.audit._base import Case
from narrows.types import Finding

__all__ = ["Outcome", "Verdict", "judge"]

TOLERANCE = 0.05
_WIDE = 0.25
_GROSS = ("gradients", "chance", "unbounded", "gradient_free", "transfer", "differentiable")


class Outcome(StrEnum):
    """What an audit can end in."""

    HOLDS = "holds under everything tried"
    OVERESTIMATED = "overestimated by weaker attacks"
    NOT_ROBUST = "not robust, the attacks work"
    ATTACK_FAILED = "attack failed, not robustness"
    INCONCLUSIVE = "inconclusive: spend more budget"


@dataclass(frozen=True)
class Verdict:
    """The end of an audit.

    Attributes:
        outcome: one of five.
        claimed: accuracy under the usual attack, or what was claimed by whoever asked.
        reached: accuracy under everything.
        low: lower end of the 95 % interval of `reached` as an estimate for all images.
        high: its upper end.
        attack: the attack that took the most images off those before it.
        images: how many were attacked.
        clean: accuracy without an attack.
        sentence: all of that.
    """

    outcome: Outcome
    claimed: float
    reached: float
    low: float
    high: float
    attack: str
    images: int
    clean: float
    sentence: str


def judge(
    case: Case, findings: Iterable[Finding], claimed: float | None = None, blind: float = 0.0
) -> Verdict:
    """Weigh what was found.

    Args:
        case: with every attack entered.
        findings: of all checks.
        claimed: the accuracy to be examined; by default what PGD reports.
        blind: share of all images at which every attack tried fails at the gray radius too.
    """
    failed = {finding.check for finding in findings if not finding.passed}
    usual = case.plain(case.pgd()).robust_accuracy
    claim = usual if claimed is None else claimed
    standing, n = len(case.survivors), len(case.x)
    reached, (low, high) = standing / n, wilson(standing, n)
    accused = bool(failed) or claimed is not None
    chance = 1 / case.classes
    outcome = _outcome(claim if accused else reached, standing, n, chance, failed, blind)
    attack, count = _decisive(case)
    title = outcome.value[0].upper() + outcome.value[1:]
    if outcome is Outcome.OVERESTIMATED:
        title += f" (from {claim:.1%} to {reached:.1%})"
    sentence = (
        f"{title}: accuracy {reached:.1%} ({low:.1%} to {high:.1%}, 95 %) on {n} images within "
        f"{case.norm} {case.eps:g}"
    )
    if count:
        sentence += f"; {attack} did most, and brought it down by {count / n:.1%}"
    if outcome is Outcome.NOT_ROBUST:
        sentence += f"; a guess among {case.classes} classes is right at {chance:.1%}"
    if outcome is Outcome.HOLDS and usual - reached > TOLERANCE:
        sentence += f"; PGD on the cross-entropy alone left {usual:.1%}"
    if blind > TOLERANCE:
        sentence += (
            f"; at {blind:.1%} of the images every attack fails even where chance must be reached, "
            "so what is left is no robustness yet"
        )
    clean = case.clean.double().mean().item()
    return Verdict(outcome, claim, reached, low, high, attack, n, clean, sentence + ".")


def _decisive(case: Case) -> tuple[str, int]:
    """The attack that took the most images off those before it, and how many."""
    entries = case.ledger.entries
    steps = [
        (round((before.robust_accuracy - after.robust_accuracy) * len(case.x)), after.name)
        for before, after in pairwise(entries)
    ]
    count, name = max(steps, default=(0, ""), key=lambda step: step[0])
    return name, count


def _outcome(
    claim: float, standing: int, n: int, chance: float, failed: set[str], blind: float
) -> Outcome:
    reached, (low, high) = standing / n, wilson(standing, n)
    wide = high - low > _WIDE
    if claim - reached > max(TOLERANCE, 1.5 / n):
        return Outcome.OVERESTIMATED
    if reached <= chance or (low <= chance and not wide):
        return Outcome.NOT_ROBUST
    if blind > TOLERANCE or failed & set(_GROSS):
        return Outcome.ATTACK_FAILED
    return Outcome.INCONCLUSIVE if failed or wide else Outcome.HOLDS
