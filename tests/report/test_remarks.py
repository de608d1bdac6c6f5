"""Each sentence follows from a number, and is not there without it."""

import pytest

from narrows.models import NetworkConfig
from narrows.report.remarks import remarks
from narrows.runs.records import LostMember
from scenarios_records import FakeRun, attack, record

LEFT = {0.1: (0.5, 0.4)}


def test_models_at_the_ceiling_are_counted():
    records = [record(0.1, seed, place=(5.9, 2.0), saturated=seed > 0) for seed in range(3)]
    records += [record(0.1, method="aib", saturated=True), record(0.1, method="nib")]
    assert remarks(FakeRun(records)) == [
        "The estimate of I(X;Z) from 400 inputs cannot exceed log2 400 = 8.6 bits, and comes "
        "within 5 % of that for these models: 2 of 3 of vib, 1 of 1 of aib. Their true I(X;Z) may "
        "be much larger."
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
    texts = remarks(FakeRun(records))
    expected = [
        "vib: a single step (FGSM) fools more images than PGD at beta 0.1, eps 0.1. That is a sign "
        "of misleading gradients, not of robustness."
    ]
    assert texts == (expected if said else [])


def test_every_place_is_named():
    records = [record(beta, left={0.1: (0.1, 0.4), 0.2: (0.1, 0.3)}) for beta in (0.1, 0.2)]
    (text,) = remarks(FakeRun(records))
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
    assert texts == (expected if said else [])


def test_only_pgd_is_held_to_chance():
    assert remarks(FakeRun([record(0.1, left={0.5: (0.9, 0.1)})])) == []


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
