"""What may be claimed: one of five outcomes, in one sentence with its numbers.

    reached = share of images that nothing fooled,   with Wilson's 95 % interval
    claimed = accuracy under PGD on the cross-entropy, one restart, one draw a step
    chance  = 1 / number of classes

| outcome       | when                                                                        |
|---------------|-----------------------------------------------------------------------------|
| attack failed | every attack fails even where chance must be reached                        |
| overestimated | something is clearly more than 5 points below what was claimed, and a check |
|               | says why, or the claim was somebody's                                       |
| not robust    | nothing is, and what is left is not above chance                            |
| attack failed | it is, but a check shows that the attacks cannot see what they climb        |
| inconclusive  | they can, yet accuracy still falls with effort, or the images are too few   |
| holds         | none of these                                                               |

The first that applies is the verdict; the first line applies only to what is above chance.

*Clearly* means beyond sampling error: the audit's own PGD is compared image by image, by an exact
test on the count of images that only the audit fooled; the number that somebody claims must lie
above the whole interval. *Not above chance* means that the interval reaches down to it: nobody need
look for reasons to doubt a robustness that a guess would have too. An interval wider than a quarter
says so little that then `reached` itself must be at chance or below.

Where nobody claimed anything and no check objects, or only those that ask for more effort, a
stronger attack that gets further than PGD is no accusation: the accuracy reached is the claim, and
the sentence says what PGD alone left.

Where a bound can be had cheaply, what no attack can ever get below is named too: the truth lies
between what is certified and what is left.

An attack that fools less at the gray radius than chance allows has failed, whatever it reports: the
ones that got furthest are tried there on the images that are left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from narrows.audit._base import Case
from narrows.audit._statistics import interval, more_than
from narrows.audit.certified import Certificate
from narrows.types import Finding

__all__ = ["Outcome", "Verdict", "judge"]

TOLERANCE = 0.05
_WIDE = 0.25
_GROSS = ("gradients", "chance", "unbounded", "gradient_free", "transfer", "differentiable")
_EFFORT = ("convergence", "seeds")  # say that more effort is needed, not that an attack is misled


class Outcome(StrEnum):
    """What an audit can end in."""

    HOLDS = "holds under everything tried"
    OVERESTIMATED = "overestimated by weaker attacks"
    NOT_ROBUST = "not robust, no better than a guess"
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
        attack: the attack that fools most images alone.
        images: how many were attacked.
        clean: accuracy without an attack.
        certified: accuracy that no attack can ever get below; None where there is no bound.
        certified_by: how it was bounded.
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
    certified: float | None = None
    certified_by: str = ""


def judge(
    case: Case,
    findings: Iterable[Finding],
    claimed: float | None = None,
    blind: float = 0.0,
    certificate: Certificate | None = None,
) -> Verdict:
    """Weigh what was found.

    Args:
        case: with every attack entered.
        findings: of all checks.
        claimed: the accuracy to be examined; by default what PGD reports.
        blind: share of all images at which every attack tried fails at the gray radius too.
        certificate: a lower bound of the accuracy, where there is one.
    """
    failed = _objections(findings)
    standing, n = len(case.survivors), len(case.x)
    kept = int((~case.plain(case.pgd()).success).sum())
    claim = kept / n if claimed is None else claimed
    if claimed is None:
        accused = bool(failed - set(_EFFORT)) and more_than(kept - standing, n, TOLERANCE)
    else:
        accused = claimed - standing / n > TOLERANCE and claimed > interval(standing, n)[1]
    outcome = _outcome(standing, n, 1 / case.classes, failed, accused, blind)
    attack, count = _strongest(case)
    clean = int(case.clean.sum()) / n
    low, high = interval(standing, n)
    sentence = _sentence(case, outcome, claim, standing / n, kept / n, blind)
    if count:
        sentence[1:1] = [f"strongest attack: {attack}, minus {100 * count / n:.1f} points"]
    certain, method = (None, "")
    if certificate is not None:
        certain, method = certificate.accuracy, certificate.method
        sentence.append(f"certified: {certain:.1%} ({method})")
    text = "; ".join(sentence) + "."
    known = (outcome, claim, standing / n, low, high, attack, n, clean, text)
    return Verdict(*known, certified=certain, certified_by=method)


def _objections(findings: Iterable[Finding]) -> set[str]:
    """Names of the checks that object; a few answers that are no numbers are only mentioned."""
    return {
        finding.check
        for finding in findings
        if not finding.passed
        and not (finding.check == "finite" and finding.data.get("near", 1) <= TOLERANCE)
    }


def _sentence(
    case: Case, outcome: Outcome, claim: float, reached: float, usual: float, blind: float
) -> list[str]:
    """The parts of the sentence, each a fact."""
    n = len(case.x)
    low, high = interval(round(reached * n), n)
    title = outcome.value[0].upper() + outcome.value[1:]
    if outcome is Outcome.OVERESTIMATED:
        title += f" (from {claim:.1%} to {reached:.1%})"
    parts = [
        f"{title}: accuracy {reached:.1%} ({low:.1%} to {high:.1%}, 95 %) on {n} images within "
        f"{case.norm} {case.eps:g}"
    ]
    if outcome is Outcome.NOT_ROBUST:
        parts.append(f"a guess among {case.classes} classes is right at {1 / case.classes:.1%}")
    quiet = (Outcome.HOLDS, Outcome.ATTACK_FAILED, Outcome.NOT_ROBUST)  # name no other accuracy
    if outcome in quiet and usual - reached > TOLERANCE:
        parts.append(f"PGD on the cross-entropy alone left {usual:.1%}")
    if blind > TOLERANCE:
        parts.append(
            f"at {blind:.1%} of the images every attack fails even where chance must be reached, "
            "so what is left is no robustness yet"
        )
    if case.left_out:
        parts.append(case.describe_left_out())
    return parts


def _strongest(case: Case) -> tuple[str, int]:
    """The attack that fools most images alone, and how many of those that were right before.

    One that was shown only what others had left is credited with what it fooled there. Among equals
    the cheapest is named.
    """
    n, wrong = len(case.x), int((~case.clean).sum())
    strengths = [
        (
            entry.fooled - (wrong if entry.attacked == n else 0),
            -(entry.forwards + entry.backwards),
            entry.name,
        )
        for entry in case.ledger.entries
    ]
    count, _, name = max(strengths, default=(0, 0, ""))
    return name if count > 0 else "", max(count, 0)


def _outcome(
    standing: int, n: int, chance: float, failed: set[str], accused: bool, blind: float
) -> Outcome:
    reached, (low, high) = standing / n, interval(standing, n)
    wide = high - low > _WIDE
    at_chance = reached <= chance or (low <= chance and not wide)
    if blind > TOLERANCE and not at_chance:
        return Outcome.ATTACK_FAILED
    if accused:
        return Outcome.OVERESTIMATED
    if at_chance:
        return Outcome.NOT_ROBUST
    if failed & set(_GROSS):
        return Outcome.ATTACK_FAILED
    return Outcome.INCONCLUSIVE if failed or wide else Outcome.HOLDS
