"""The verdict follows from the numbers: each outcome is reached, and says them."""

from types import SimpleNamespace

import pytest
import torch

from narrows.audit import Outcome
from narrows.audit.verdict import judge
from narrows.types import Finding


def case(usual, left, n=200, entries=None, left_out=()):
    """A case in which PGD left `usual` and everything together left `left`."""
    kept = torch.arange(n) < round(usual * n)
    entries = entries or [("no attack", n, 0), ("PGD", n, n - round(usual * n))]
    return SimpleNamespace(
        plain=lambda attack: SimpleNamespace(success=~kept),
        pgd=lambda: None,
        survivors=torch.arange(round(left * n)),
        x=torch.zeros(n, 1),
        clean=torch.ones(n, dtype=torch.bool),
        ledger=SimpleNamespace(
            entries=[
                SimpleNamespace(name=name, attacked=seen, fooled=fooled, forwards=9, backwards=9)
                for name, seen, fooled in entries
            ]
        ),
        classes=10,
        norm="linf",
        eps=0.1,
        left_out=left_out,
        describe_left_out=lambda: "two images were left out",
    )


def failed(*names):
    return [Finding(name, False, "") for name in names]


@pytest.mark.parametrize(
    ("usual", "left", "findings", "more", "outcome"),
    [
        (0.5, 0.48, [], {}, Outcome.HOLDS),
        (0.0, 0.0, failed("chance"), {}, Outcome.NOT_ROBUST),
        (0.015, 0.015, [], {}, Outcome.NOT_ROBUST),
        (0.04, 0.015, failed("convergence"), {"blind": 0.5}, Outcome.NOT_ROBUST),
        (0.13, 0.13, [], {}, Outcome.NOT_ROBUST),  # of 200: 9.0 % to 18.4 %
        (0.2, 0.2, [], {}, Outcome.HOLDS),
        (0.3, 0.015, failed("gradients"), {}, Outcome.OVERESTIMATED),
        (0.04, 0.0, [], {"claimed": 0.5}, Outcome.OVERESTIMATED),
        (0.7, 0.6, [], {}, Outcome.HOLDS),
        (0.7, 0.6, failed("saturation"), {}, Outcome.OVERESTIMATED),
        (0.5, 0.48, [], {"claimed": 0.9}, Outcome.OVERESTIMATED),
        (0.5, 0.48, [], {"claimed": 0.45}, Outcome.HOLDS),
        (0.9, 0.9, failed("gradients"), {}, Outcome.ATTACK_FAILED),
        (0.9, 0.9, failed("convergence"), {"blind": 0.5}, Outcome.ATTACK_FAILED),
        # Where attacks are blind nothing is said about what they have reached.
        (0.9, 0.5, failed("saturation"), {"blind": 0.3}, Outcome.ATTACK_FAILED),
        (0.9, 0.5, failed("gradients"), {"claimed": 0.9, "blind": 0.3}, Outcome.ATTACK_FAILED),
        # More effort gets further: that is no accusation.
        (0.7, 0.6, failed("convergence"), {}, Outcome.INCONCLUSIVE),
        (0.7, 0.6, failed("convergence", "seeds"), {}, Outcome.INCONCLUSIVE),
        (0.7, 0.6, failed("convergence", "noise"), {}, Outcome.OVERESTIMATED),
        # 10 points of 200 images might be 5; 11 of 200 might not be.
        (0.5, 0.41, failed("noise"), {}, Outcome.INCONCLUSIVE),
        (0.5, 0.40, failed("noise"), {}, Outcome.OVERESTIMATED),
        # What somebody claims must lie above the whole interval: 41.2 % to 54.9 %.
        (0.5, 0.48, [], {"claimed": 0.54}, Outcome.HOLDS),
        (0.5, 0.48, [], {"claimed": 0.56}, Outcome.OVERESTIMATED),
        (0.5, 0.48, failed("convergence"), {}, Outcome.INCONCLUSIVE),
    ],
)
def test_outcome(usual, left, findings, more, outcome):
    assert judge(case(usual, left), findings, **more).outcome is outcome


def test_too_few_images_are_inconclusive():
    assert judge(case(0.5, 0.5, n=20), []).outcome is Outcome.INCONCLUSIVE
    assert judge(case(0.2, 0.2, n=20), []).outcome is Outcome.INCONCLUSIVE
    assert judge(case(0.1, 0.1, n=20), []).outcome is Outcome.NOT_ROBUST


def test_chance_is_that_of_the_classes():
    two = case(0.5, 0.5)
    two.classes = 2
    verdict = judge(two, [])
    assert verdict.outcome is Outcome.NOT_ROBUST
    assert verdict.sentence.startswith(
        "Not robust, no better than a guess: accuracy 50.0% (43.1% to "
    )
    assert "; a guess among 2 classes is right at 50.0%" in verdict.sentence


def test_the_sentence_says_the_numbers():
    entries = [("no attack", 200, 0), ("PGD", 200, 60), ("Square", 200, 140), ("late", 60, 5)]
    verdict = judge(case(0.7, 0.3, entries=entries), failed("saturation"))
    assert verdict.sentence == (
        "Overestimated by weaker attacks (from 70.0% to 30.0%): accuracy 30.0% (24.1% to 36.7%, "
        "95 %) on 200 images within linf 0.1; strongest attack: Square, minus 70.0 points."
    )
    assert (verdict.attack, verdict.images, verdict.clean) == ("Square", 200, 1.0)
    assert (verdict.claimed, verdict.reached) == (0.7, 0.3)


def test_the_sentence_says_what_remains_unknown():
    sentence = judge(case(0.7, 0.3, left_out=(3, 4)), failed("saturation"), blind=0.2).sentence
    assert sentence.startswith("Attack failed, not robustness: accuracy 30.0% (24.1% to 36.7%")
    assert "; PGD on the cross-entropy alone left 70.0%; at 20.0% of the images every" in sentence
    assert sentence.endswith("no robustness yet; two images were left out.")
    assert "PGD on the cross-entropy alone left 70.0%" in judge(case(0.7, 0.6), []).sentence
    assert "alone left" not in judge(case(0.7, 0.68), []).sentence
    assert "PGD on the cross-entropy alone left 30.0%" in judge(case(0.3, 0.1), []).sentence


@pytest.mark.parametrize(
    ("entries", "name", "points"),
    [
        # Of all images, not of those that were left when its turn came.
        ([("first", 200, 120), ("stronger", 200, 130)], "stronger", 65.0),
        ([("weak", 200, 4), ("on the rest", 196, 190)], "on the rest", 95.0),
        ([("all", 200, 130), ("on the rest", 70, 9)], "all", 65.0),
        ([("no attack", 200, 0)], "", 0.0),
    ],
)
def test_the_strongest_attack_is_the_one_that_fools_most_alone(entries, name, points):
    verdict = judge(case(0.5, 0.3, entries=entries), [])
    assert verdict.attack == name
    assert (f"strongest attack: {name}, minus {points:.1f} points" in verdict.sentence) is bool(
        name
    )


def test_images_that_were_wrong_before_are_no_merit():
    half = case(0.5, 0.3, entries=[("PGD", 200, 150), ("rest", 60, 55)])
    half.clean = torch.arange(200) < 100  # PGD: 50 of those that were right
    assert judge(half, []).attack == "rest"


def test_the_cheapest_of_equals_is_named():
    equal = case(0.5, 0.3, entries=[("dear", 200, 150), ("cheap", 200, 150)])
    equal.ledger.entries[0].forwards = 100
    assert judge(equal, []).attack == "cheap"


def test_a_few_answers_that_are_no_numbers_are_only_mentioned():
    few, many = (Finding("finite", False, "", data={"near": near}) for near in (0.02, 0.4))
    assert judge(case(0.5, 0.48), [few]).outcome is Outcome.HOLDS
    assert judge(case(0.5, 0.48), [many]).outcome is Outcome.INCONCLUSIVE
