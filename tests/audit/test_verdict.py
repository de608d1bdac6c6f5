"""The verdict follows from the numbers: each outcome is reached, and says them."""

from types import SimpleNamespace

import pytest
import torch

from narrows.audit import Outcome
from narrows.audit.verdict import judge
from narrows.types import Finding


def case(usual, left, n=200):
    """A case in which PGD left `usual` and everything together left `left`."""
    entries = [
        SimpleNamespace(name=name, robust_accuracy=accuracy)
        for name, accuracy in (("no attack", 1.0), ("PGD", usual), ("Square", left))
    ]
    return SimpleNamespace(
        plain=lambda attack: SimpleNamespace(robust_accuracy=usual),
        pgd=lambda: None,
        survivors=torch.arange(round(left * n)),
        x=torch.zeros(n, 1),
        clean=torch.ones(n, dtype=torch.bool),
        ledger=SimpleNamespace(entries=entries),
        classes=10,
        norm="linf",
        eps=0.1,
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
    assert verdict.sentence.startswith("Not robust, the attacks work: accuracy 50.0% (43.1% to ")
    assert "; a guess among 2 classes is right at 50.0%" in verdict.sentence


def test_the_sentence_says_the_numbers():
    verdict = judge(case(0.7, 0.3), failed("saturation"), blind=0.2)
    assert verdict.sentence == (
        "Overestimated by weaker attacks (from 70.0% to 30.0%): accuracy 30.0% (24.1% to 36.7%, "
        "95 %) on 200 images within linf 0.1; Square did most, and brought it down by 40.0%; at "
        "20.0% of the images every attack fails even where chance must be reached, so what is left "
        "is no robustness yet."
    )
    assert (verdict.attack, verdict.images, verdict.clean) == ("Square", 200, 1.0)
    assert "PGD on the cross-entropy alone left 70.0%" in judge(case(0.7, 0.6), []).sentence
