"""Accuracy on the toys with its spread over seeds, and the samples of the first."""

import math

import pytest

from narrows.papers.toys import ToyResult
from narrows.report.figures.toys import sample_section, toy_rows, toy_sections

RESULTS = [
    ToyResult("linear", 0.0, "deterministic", 0, 1.0, 0.5),
    ToyResult("linear", 0.0, "deterministic", 1, 0.9, 0.5),
    *[ToyResult("vib", 0.1, "mean", seed, clean, 0.25) for seed, clean in enumerate((0.8, 0.6))],
    ToyResult("vib", 0.1, "sample", 0, 0.7, 0.3),
]


def test_rows_are_means_with_one_standard_deviation():
    rows = {(row["panel"], row["series"]): row for row in toy_rows(RESULTS)}
    assert len(rows) == 6
    mean = rows["samples as they come", "VIB, mean of the code"]
    assert (mean["beta"], mean["mean"]) == (0.1, pytest.approx(0.7))
    assert mean["high"] - mean["low"] == pytest.approx(2 * 0.2 / math.sqrt(2))
    linear = rows["samples as they come", "linear network"]
    assert linear["high"] == 1.0  # no share is above it
    alone = rows["samples that contradict the label", "VIB, 12 draws of the code"]
    assert alone["low"] == alone["mean"] == alone["high"] == 0.3


def test_the_text_counts_the_seeds():
    (section,) = toy_sections(RESULTS)
    assert section.text[0].startswith("Means over 2 seeds")
    (section,) = toy_sections(RESULTS[:1])
    assert section.text[0].startswith("Means over 1 seed;")


def test_the_samples_are_those_of_the_task():
    rows = sample_section().chart.to_dict()["data"]["values"]
    assert len(rows) == 1000
    assert all((row["x1"] > 0) == (row["label"] == "+1") for row in rows)
    agree = sum((row["x2"] > 0) == (row["x1"] > 0) for row in rows) / 1000
    assert agree == pytest.approx(0.9, abs=0.03)
