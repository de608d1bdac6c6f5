"""Each sentence follows from a number, and is not there without it."""

import pytest

from narrows.models import NetworkConfig
from narrows.report.remarks import remarks
from narrows.runs.records import LostMember
from scenarios_records import FakeRun, attack, record

LEFT = {0.1: (0.5, 0.4)}
CURVE = {1.0: (0.5, 0.5), 0.1: (2.5, 2.5), 0.01: (4.5, 2.7), 0.001: (6.5, 2.8)}
UPPER = (
    "Accuracy under FGSM and PGD is an upper bound of robust accuracy: a stronger attack can only "
    "lower it. No attack here is gradient-free, so nothing on this page certifies a defence."
)


def swept(curve=CURVE, seeds=(0, 1), **options):
    return [record(beta, seed, place=place, **options) for beta, place in curve.items()
            for seed in seeds]  # fmt: skip


def test_a_plain_run_has_its_knee_and_what_attacks_do_not_say():
    assert remarks(FakeRun(swept(left=LEFT))) == [
        "vib: the knee lies at beta = 0.1 (bootstrap over seeds: 0.1).",
        UPPER,
    ]
    assert remarks(FakeRun(swept())) == [
        "vib: the knee lies at beta = 0.1 (bootstrap over seeds: 0.1)."
    ]


def test_the_interval_of_the_knee_is_said_where_seeds_differ():
    other = {1.0: (0.5, 0.5), 0.1: (2.5, 1.0), 0.01: (4.5, 2.75), 0.001: (6.5, 2.8)}
    records = [*swept(seeds=(0, 1)), *swept(other, seeds=(2, 3))]
    (text,) = remarks(FakeRun(records))
    assert text.startswith("vib: the knee lies at beta = 0.")
    assert text.endswith("(bootstrap over seeds: 0.01 to 0.1).")


def test_where_there_is_no_clear_knee_the_reason_is_said():
    line = {beta: (rate, 0.5 + 0.4 * (rate - 0.5)) for beta, (rate, _) in CURVE.items()}
    (text,) = remarks(FakeRun(swept(line)))
    assert text.startswith("vib: no clear knee (the curve bends too little")
    three = dict(list(CURVE.items())[:3])
    assert len(remarks(FakeRun(swept(three)))) == 1
    two = dict(list(CURVE.items())[:2])
    assert remarks(FakeRun(swept(two))) == []  # nobody looked for one


def test_models_at_the_ceiling_are_counted():
    records = [record(0.1, seed, place=(5.9, 2.0), saturated=seed > 0) for seed in range(3)]
    assert remarks(FakeRun(records)) == [
        "vib: I(X;Z) of 2 of 3 models is within 5 % of its ceiling log n = 5.99 nats (n = 400), "
        "so it reflects n more than the model."
    ]


@pytest.mark.parametrize(
    ("fgsm", "pgd", "said"),
    [
        (0.2, 0.4, True),
        (0.394, 0.4, True),
        (0.396, 0.4, False),
        (0.4, 0.4, False),
        (0.4, 0.2, False),
    ],
)
def test_a_single_step_that_beats_many_is_remarked_on(fgsm, pgd, said):
    records = [record(0.1, left={0.1: (fgsm, pgd)}), record(0.2, left={0.1: (0.5, 0.5)})]
    texts = [text for text in remarks(FakeRun(records)) if text != UPPER]
    expected = [
        "vib: a single step (FGSM) does better than PGD at beta 0.1, eps 0.1. That is a sign of "
        "misleading gradients, not of robustness."
    ]
    assert texts == (expected if said else [])


def test_every_place_is_named():
    records = [record(beta, left={0.1: (0.1, 0.4), 0.2: (0.1, 0.3)}) for beta in (0.1, 0.2)]
    (text, _) = remarks(FakeRun(records))
    places = "beta 0.1, eps 0.1; beta 0.1, eps 0.2; beta 0.2, eps 0.1; beta 0.2, eps 0.2"
    assert f"PGD at {places}. That" in text


@pytest.mark.parametrize(
    ("eps", "pgd", "said"),
    [(0.5, 0.21, True), (0.6, 0.5, True), (0.5, 0.2, False), (0.49, 0.9, False)],
)
def test_more_than_chance_where_every_image_can_be_gray_is_remarked_on(eps, pgd, said):
    texts = remarks(FakeRun([record(0.1, left={eps: (0.95, pgd)})]))
    expected = [
        f"vib: PGD leaves more than chance at beta 0.1, eps {eps:g} ({pgd:.0%}). Within a radius "
        "of 0.5 every image can be made uniformly gray, so the attack failed."
    ]
    assert texts == [*(expected if said else []), UPPER]


def test_only_pgd_is_held_to_chance():
    assert remarks(FakeRun([record(0.1, left={0.5: (0.9, 0.1)})])) == [UPPER]


def test_models_that_diverged_are_counted_and_the_first_is_named():
    error = "the loss of member 1 (seed 0) became nan in epoch 0, batch 3"
    lost = {"vib": [LostMember(0.5, 0, error), LostMember(0.5, 1, "another")]}
    records = [record(0.1, seed) for seed in (0, 1)]
    run = FakeRun(records, lost)
    run.config.grids["vib"].append(0.5)
    assert remarks(run) == [f"vib: 2 of 4 models diverged and are in no result ({error})."]


def test_a_method_of_which_all_diverged_is_still_named():
    lost = {"aib": [LostMember(0.1, 0, "became nan")]}
    run = FakeRun([record(0.1)], lost, methods=["aib", "vib"])
    assert remarks(run) == ["aib: 1 of 1 models diverged and are in no result (became nan)."]


def test_different_networks_are_named():
    networks = {
        "vib": NetworkConfig(encoder=[8, 4], decoder=[3]),
        "aib": NetworkConfig(encoder=[], decoder=[]),
    }
    records = [record(0.1), record(0.1, method="aib")]
    assert remarks(FakeRun(records, networks=networks)) == [
        "The methods have different networks, each the default of its kind. "
        "vib: mlp 8-4-3; aib: mlp without hidden layers."
    ]
    assert remarks(FakeRun(records)) == []


@pytest.mark.parametrize(("fgsm", "pgd"), [(None, 0.4), (0.2, None), (0.2, 0.4)])
def test_a_single_step_is_compared_where_both_attacks_have_a_result(fgsm, pgd):
    row = record(0.1, left={0.2: (0.5, 0.5)})
    row.attacks.extend([attack("fgsm", 0.1, fgsm), attack("pgd", 0.1, pgd)])
    remarked = any("single step" in text for text in remarks(FakeRun([row])))
    assert remarked is (None not in (fgsm, pgd))
    row.attacks.pop()
    assert not any("single step" in text for text in remarks(FakeRun([row])))


def test_pgd_without_a_radius_or_a_result_is_not_held_to_chance():
    row = record(0.1, left={0.1: (0.1, 0.1)})
    row.attacks.extend([attack("pgd", None, 0.9), attack("pgd", 0.6, None)])
    assert remarks(FakeRun([row])) == [UPPER]
