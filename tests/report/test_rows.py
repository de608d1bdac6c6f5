"""From records to the rows of charts."""

import math

import pytest
import torch

from narrows.errors import StoreError
from narrows.report import rows
from narrows.report.rows import CHOSEN, KNEE
from scenarios_records import FakeRun, attack, record

BITS = 1 / math.log(2)
# A clear knee at 0.1; the best validation accuracy at 0.01.
CURVE = {1.0: (0.2, 0.5, 0.5), 0.1: (0.95, 2.5, 2.5), 0.01: (0.97, 4.5, 2.7), 1e-3: (0.9, 6.5, 2.8)}
LEFT = {0.1: (0.5, 0.4), 0.3: (0.3, 0.1)}


def swept(**options):
    return [
        record(beta, seed, validation=validation, place=(rate + seed, relevance), **options)
        for beta, (validation, rate, relevance) in CURVE.items()
        for seed in (0, 1)
    ]


PLAIN = [record(0.0, seed, method="cross_entropy", place=(7.0, 2.9), left=LEFT) for seed in (0, 1)]
RUN = FakeRun([*PLAIN, *swept(left=LEFT)])


def test_methods_of_which_no_model_is_left_are_not_drawn():
    run = FakeRun(swept(), methods=["aib", "vib"])
    assert rows.trained_methods(run) == ["vib"]
    assert rows.trained_methods(RUN) == ["cross_entropy", "vib"]


def test_a_run_is_attacked_if_all_of_its_models_are():
    assert rows.attacked(RUN)
    assert not rows.attacked(FakeRun([*PLAIN, *swept()]))
    assert not rows.attacked(FakeRun([], methods=["vib"]))


def test_the_summary_of_a_beta_or_an_error_that_names_it():
    assert rows.summary_row(RUN, "vib", 0.1).beta == 0.1
    with pytest.raises(StoreError, match=r"here has no vib at beta = 0\.2"):
        rows.summary_row(RUN, "vib", 0.2)


def test_the_choices_are_validations_and_the_knee():
    assert rows.choices(RUN, "vib") == {CHOSEN: 0.01, KNEE: 0.1}
    assert rows.choices(RUN, "cross_entropy") == {CHOSEN: 0.0}


def test_a_row_for_each_model_and_part_of_the_data_in_bits():
    models = rows.model_rows(RUN)
    assert len(models) == 2 * (2 + 8)
    assert models[0] == {
        "method": "cross_entropy", "beta": 0.0, "seed": 0, "split": "training data",
        "rate": pytest.approx(6.5 * BITS), "relevance": pytest.approx(2.4 * BITS),
    }  # fmt: skip
    assert models[1]["split"] == "test data"
    assert models[1]["rate"] == pytest.approx(7 * BITS)
    without = FakeRun([record(0.1, place=None), record(0.2)])
    assert [row["beta"] for row in rows.model_rows(without)] == [0.2, 0.2]


def test_the_knee_is_drawn_on_the_mean_curves():
    knees = rows.knee_rows(RUN)
    assert [(row["method"], row["beta"], row["split"]) for row in knees] == [
        ("vib", 0.1, "training data"),
        ("vib", 0.1, "test data"),
    ]
    assert [row["rate"] for row in knees] == pytest.approx([2.5 * BITS, 3 * BITS])
    assert [row["relevance"] for row in knees] == pytest.approx([2 * BITS, 2.5 * BITS])


def test_the_entropy_of_labels_is_in_bits():
    assert rows.label_bits(RUN) == pytest.approx(math.log2(10))
    later = FakeRun([record(0.1, place=None), record(0.2)])
    assert rows.label_bits(later) == pytest.approx(math.log2(10))
    with pytest.raises(StoreError, match="no model of here has a latent"):
        rows.label_bits(FakeRun([record(0.1, place=None)]))


def test_accuracy_against_eps_begins_with_clean_images():
    found = rows.accuracy_against_eps(RUN)
    vib = [row for row in found if row["method"] == "vib" and KNEE in row["choices"]]
    assert [(row["attack"], row["eps"], row["mean"]) for row in vib] == [
        ("fgsm", 0.0, pytest.approx(0.91)), ("fgsm", 0.1, 0.5), ("fgsm", 0.3, 0.3),
        ("pgd", 0.0, pytest.approx(0.91)), ("pgd", 0.1, 0.4), ("pgd", 0.3, 0.1),
    ]  # fmt: skip
    assert {row["beta"] for row in vib} == {0.1}
    assert {
        row["beta"] for row in found if row["method"] == "vib" and CHOSEN in row["choices"]
    } == {0.01}
    # A method without a knee stands at its chosen beta under either choice.
    plain = [row for row in found if row["method"] == "cross_entropy"]
    assert all(row["choices"] == [CHOSEN, KNEE] for row in plain)
    assert {row["beta"] for row in plain} == {0.0}
    # Every other beta is there for a reader who picks it.
    assert {row["beta"] for row in found if row["choices"] == []} == {0.001, 1.0}
    assert len(found) == (4 + 1) * 6


def test_a_band_is_one_deviation_within_what_a_share_can_be():
    clean = rows.accuracy_against_eps(RUN)[0]
    spread = 0.02 / math.sqrt(2)
    assert clean["low"] == pytest.approx(0.91 - spread)
    assert clean["high"] == pytest.approx(0.91 + spread)
    wide = FakeRun([record(0.1, 0, left={0.1: (1.0, 0.0)}), record(0.1, 1, left={0.1: (0.9, 0.3)})])
    bands = {row["attack"]: row for row in rows.accuracy_against_eps(wide) if row["eps"] == 0.1}
    assert (bands["fgsm"]["high"], bands["pgd"]["low"]) == (1.0, 0.0)
    lone = rows.accuracy_against_eps(FakeRun([record(0.1, left=LEFT)]))[0]
    assert lone["low"] == lone["mean"] == lone["high"] == 0.9


def test_accuracy_against_beta_is_of_methods_with_several():
    found = rows.accuracy_against_beta(RUN)
    assert {row["method"] for row in found} == {"vib"}
    first = found[:5]
    assert [(row["beta"], row["attack"], row["eps"]) for row in first] == [
        (0.001, "clean", None), (0.001, "fgsm", 0.1), (0.001, "pgd", 0.1),
        (0.001, "fgsm", 0.3), (0.001, "pgd", 0.3),
    ]  # fmt: skip
    assert len(found) == 4 * 5  # the smallest perturbation has no radius
    two = FakeRun([record(0.1, left=LEFT), record(0.2, left=LEFT)])
    assert len(rows.accuracy_against_beta(two)) == 2 * 5


def test_projections_of_each_beta_have_its_rank():
    def picture(beta):
        points = torch.tensor([[beta, 1.23456], [2.0, -1.0], [0.0, 0.0]])
        return {f"{beta!r}/projection": points, f"{beta!r}/projection_label": torch.arange(3)}

    pictures = {"vib": picture(0.1) | picture(0.2), "aib": picture(0.5)}
    records = [record(0.1), record(0.2), record(0.3), record(0.5, method="aib")]
    found = rows.projection_rows(FakeRun(records, pictures=pictures), count=2)
    assert [(row["method"], row["beta"], row["rank"], row["label"]) for row in found] == [
        ("vib", 0.1, 0, 0), ("vib", 0.1, 0, 1), ("vib", 0.2, 1, 0), ("vib", 0.2, 1, 1),
        ("aib", 0.5, 0, 0), ("aib", 0.5, 0, 1),
    ]  # fmt: skip
    assert (found[0]["x"], found[0]["y"]) == (0.1, 1.2346)
    assert [row["only"] for row in found] == [False] * 4 + [True] * 2


def test_attacks_without_a_radius_or_a_result_are_not_drawn():
    row = record(0.1, left=LEFT)
    other = record(0.2, left=LEFT)
    row.attacks.append(attack("pgd", 0.5, None))
    row.attacks.append(attack("l2", None, 0.25))
    run = FakeRun([row, other])
    drawn = [(line["attack"], line["eps"]) for line in rows.accuracy_against_beta(run)]
    usual = [("clean", None), ("fgsm", 0.1), ("pgd", 0.1), ("fgsm", 0.3), ("pgd", 0.3)]
    assert drawn == 2 * usual
    assert 0.5 not in {line["eps"] for line in rows.accuracy_against_eps(run)}
