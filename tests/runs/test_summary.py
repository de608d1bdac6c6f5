"""Mean and spread over seeds, and the beta that is chosen."""

import math

import pytest

from narrows.runs.summary import AttackSummary, Spread, chosen_beta, summarise
from scenarios_records import attack, record

PLACES = [
    (1.0, 0.2, 0.6, 0.6),
    (0.1, 0.95, 2.5, 2.5),
    (0.01, 0.97, 4.5, 2.7),
    (1e-3, 0.97, 6.5, 2.8),
]
RECORDS = [
    record(beta, seed, validation=validation, place=(rate + 0.01 * seed, relevance))
    for beta, validation, rate, relevance in PLACES
    for seed in (0, 1)
]


def test_the_chosen_beta_has_the_best_validation_accuracy_and_of_equals_the_largest():
    assert chosen_beta(RECORDS) == 0.01
    assert summarise(RECORDS).chosen_beta == 0.01
    assert chosen_beta([]) is None


def test_the_choice_is_by_the_mean_over_seeds_and_not_by_test_accuracy():
    means = {0.1: (0.9, 0.5), 0.2: (0.7, 0.72), 0.3: (0.6, 0.6)}
    records = [
        record(beta, seed, validation=accuracy)
        for beta, accuracies in means.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    assert chosen_beta(records) == 0.2
    # A beta of which one seed is left is judged by that one.
    assert chosen_beta([row for row in records if (row.beta, row.seed) != (0.1, 1)]) == 0.1


def test_rows_are_in_the_order_of_beta_whatever_that_of_the_records():
    summary = summarise(RECORDS[::-1])
    assert [row.beta for row in summary.rows] == [0.001, 0.01, 0.1, 1.0]
    assert [row.seeds for row in summary.rows] == [2, 2, 2, 2]


def test_a_row_holds_mean_and_standard_deviation_over_seeds():
    row = summarise(RECORDS).rows[2]
    test = row.accuracy["test"]
    assert test.mean == pytest.approx(0.91)
    assert test.std == pytest.approx(0.02 / math.sqrt(2))
    assert row.accuracy["validation"] == Spread(pytest.approx(0.95), pytest.approx(0))
    assert row.accuracy["train"] == Spread(1.0, 0.0)
    rate, relevance = row.information_bits["test"]
    assert rate.mean == pytest.approx(2.505 / math.log(2))
    assert rate.std == pytest.approx(0.01 / math.sqrt(2) / math.log(2))
    assert relevance == Spread(pytest.approx(2.5 / math.log(2)), pytest.approx(0))
    rate, relevance = row.information_bits["train"]
    assert rate.mean == pytest.approx(2.005 / math.log(2))
    assert relevance.mean == pytest.approx(2 / math.log(2))


def test_one_seed_has_no_spread():
    row = summarise(RECORDS[2:3]).rows[0]
    assert row.accuracy["test"] == Spread(0.9, None)
    assert row.information_bits["test"][0].std is None


def test_models_without_a_latent_are_in_no_mean_of_information():
    rows = summarise([record(0.1, 0, place=None), record(0.1, 1, place=(3.0, 2.0))]).rows
    assert rows[0].information_bits["test"][0] == Spread(pytest.approx(3 / math.log(2)))
    assert rows[0].seeds == 2
    assert summarise([record(0.1, place=None)]).rows[0].information_bits == {}


def test_attacks_are_averaged_each_by_itself():
    left = {0.1: (0.5, 0.4), 0.3: (0.25, 0.0)}
    second = {eps: (fgsm - 0.25, pgd) for eps, (fgsm, pgd) in left.items()}
    row = summarise([record(0.1, 0, left=left), record(0.1, 1, left=second)]).rows[0]
    assert [(a.attack, a.eps) for a in row.attacks] == [
        ("fgsm", 0.1), ("pgd", 0.1), ("fgsm", 0.3), ("pgd", 0.3), ("deepfool", None),
    ]  # fmt: skip
    fgsm = row.attack("fgsm", 0.3)
    assert fgsm is not None
    assert fgsm.accuracy == Spread(0.125, pytest.approx(0.25 / math.sqrt(2)))
    assert row.attack("pgd", 0.3) == AttackSummary("pgd", 0.3, Spread(0, 0), Spread(1, 0))
    deepfool = row.attack("deepfool", None)
    assert deepfool is not None
    assert deepfool.accuracy is None
    assert deepfool.median_distance == Spread(0.5, pytest.approx(0.2 / math.sqrt(2)))
    assert row.attack("pgd", 0.2) is None
    assert row.attack("pgd", None) is None


def test_where_an_attack_fooled_no_image_there_is_no_distance():
    row = record(0.1, left={0.1: (0.5, 0.5)})
    none = attack("fgsm", 0.1, 1.0, None)
    changed = [none, *(row.attacks or [])[1:]]
    summary = summarise([type(row)(**{**vars(row), "attacks": changed})]).rows[0]
    assert summary.attacks[0] == AttackSummary("fgsm", 0.1, Spread(1.0), None)


def test_without_records_there_is_nothing_to_say():
    summary = summarise([])
    assert (summary.rows, summary.chosen_beta, summary.knee.beta) == ([], None, None)
