"""Mean and spread, chosen beta and knee, from members to the table."""

import io
import math

import pytest
from narrows.experiments.summary import _knee, _row, chosen_beta
from rich.console import Console

from narrows.report.remarks import remarks
from narrows.report.rows import Run
from narrows.report.tables import console_table, full_table, markdown, result_table


def estimate(nats: float, **diagnostics) -> dict:
    return {"nats": nats, "n": 400, "ceiling": math.log(400), "std_error": 0.0,
            "diagnostics": {"saturated": False, **diagnostics}}  # fmt: skip


def member(beta: float, seed: int, validation: float, rate: float, relevance: float,
           fgsm: float = 0.5, pgd: float = 0.4) -> dict:  # fmt: skip
    information = {
        "kde_upper": estimate(rate),
        "kde_relevance_upper": estimate(
            relevance, same_distance=relevance, label_entropy=math.log(10)
        ),
    }
    attacks = [
        {"attack": name, "eps": eps, "accuracy": accuracy - 0.01 * seed, "median_distance": 1.0}
        for name, eps, accuracy in (("fgsm", 0.1, fgsm), ("pgd", 0.1, pgd), ("deepfool", None, 0))
    ]
    return {
        "method": "vib", "beta": beta, "seed": seed, "attacks": attacks,
        "accuracy": {"train": 1.0, "validation": validation, "test": 0.9 + 0.02 * seed},
        "information": {"train": information, "test": information},
    }  # fmt: skip


RECORDS = [
    member(beta, seed, validation, rate + 0.01 * seed, relevance)
    for beta, validation, rate, relevance in (
        (1.0, 0.2, 0.0, 0.0), (0.1, 0.95, 2.0, 2.0), (0.01, 0.97, 4.0, 2.2), (0.001, 0.97, 6.0, 2.3)
    )
    for seed in (0, 1)
]  # fmt: skip


def a_run(records=RECORDS, seeds: int = 2, method: str = "vib") -> Run:
    betas = sorted({record["beta"] for record in records})
    rows = [_row(beta, [r for r in records if r["beta"] == beta]) for beta in betas]
    summary = {"chosen_beta": chosen_beta(records), "knee": _knee(records), "rows": rows}
    config = {"data": "digits", "seeds": seeds, "evaluate": {"eps": [0.1]}}
    return Run("here", config, {}, {method: summary}, {method: records}, {}, classes=10)


def test_the_chosen_beta_has_the_best_validation_accuracy_and_of_equals_the_largest():
    assert chosen_beta(RECORDS) == 0.01


def test_the_knee_is_where_relevance_stops_growing():
    knee = _knee(RECORDS)
    assert knee["beta"] == 0.1
    assert tuple(knee["interval"]) == (0.1, 0.1)


def test_a_row_holds_mean_and_standard_deviation_over_seeds():
    row = _row(0.1, [record for record in RECORDS if record["beta"] == 0.1])
    assert row["accuracy"]["test"]["mean"] == pytest.approx(0.91)
    assert row["accuracy"]["test"]["std"] == pytest.approx(0.02 / math.sqrt(2))
    rate, relevance = row["information_bits"]["test"]
    assert rate["mean"] == pytest.approx(2.005 / math.log(2))
    assert relevance == {"mean": pytest.approx(2 / math.log(2)), "std": pytest.approx(0)}


def test_one_seed_has_no_spread():
    row = _row(0.1, RECORDS[2:3])
    assert row["accuracy"]["test"]["std"] is None
    lone = a_run([record for record in RECORDS if record["seed"] == 0], seeds=1)
    assert "±" not in "".join(result_table(lone).rows[0])


def test_the_tables_show_what_was_chosen_and_by_what():
    short = result_table(a_run())
    assert [row[1:3] for row in short.rows] == [["0.01", "val."], ["0.1", "knee"]]
    assert short.rows[0][5:8] == ["91.0±1.4", "49.5±0.7", "39.5±0.7"]
    full = full_table(a_run())
    assert [row[1] for row in full.rows] == ["0.001", "0.01", "0.1", "1"]
    assert all(len(row) == len(full.columns) for row in full.rows)


def test_the_short_table_fits_a_terminal_of_80_columns():
    console = Console(width=80, record=True, file=io.StringIO())
    console_table(a_run(method="cross_entropy"), console)
    assert "…" not in console.export_text()


def test_a_single_step_that_beats_many_is_remarked_on():
    assert not any("single step" in text for text in remarks(a_run()))
    odd = [member(beta, 0, 0.9, beta, beta, fgsm=0.2, pgd=0.4) for beta in (0.1, 0.2, 0.3)]
    assert any("single step (FGSM) does better" in text for text in remarks(a_run(odd, 1)))


def test_markdown_has_a_line_a_row_and_a_rule():
    table = full_table(a_run())
    lines = markdown(table).splitlines()
    assert lines[0].startswith("| method | beta |")
    assert set(lines[1]) == set("| -")
    assert len(lines) == 2 + len(table.rows)
    assert {line.count("|") for line in lines} == {len(table.columns) + 1}
