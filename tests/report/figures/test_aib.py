"""Curves, codes, knee and robustness, and what audits left."""

import math

import pytest

from narrows.errors import StoreError
from narrows.papers.aib import ExactPoint, exact_region
from narrows.report.figures.aib import (
    beta_sections,
    curve_sections,
    exact_chart,
    exact_sections,
    projection_sections,
)
from narrows.runs import Member
from scenarios_records import FakeRun, audit, record

REGION = exact_region()


def swept(left=None):
    return FakeRun([
        *(record(0.0, seed, method="cross_entropy", left=left) for seed in (0, 1)),
        *(record(beta, seed, left=left) for beta in (0.1, 0.3) for seed in (0, 1)),
    ])  # fmt: skip


def test_curves_say_which_noise_was_added():
    (section,) = curve_sections(swept())
    assert "noise of standard deviation 1 is added." in section.text[0]
    with pytest.raises(StoreError, match="no model of here has a latent"):
        curve_sections(FakeRun([record(0.1, place=None)]))


def test_the_distance_to_the_bound_is_that_of_each_model():
    rate = 0.5
    allowed = REGION.bound([rate * math.log(2)]).item() / math.log(2)
    points = [
        ExactPoint(Member("vib", 0.1, seed), rate, allowed - below, 1e-3)
        for seed, below in ((0, 0.1), (1, 0.3))
    ]
    points.append(ExactPoint(Member("aib", 1.0, 0), 0.0, 0.0, 2e-3))
    first, second = exact_sections(points, REGION)
    assert "a standard error below 2e-03 bits" in first.text[0]
    assert "I(X;Y) = 0.99 bits" in first.text[0]
    assert second.table is not None
    assert second.table.rows[0] == [
        "vib", "0.1", "0.500 ± 0.000", f"{allowed - 0.2:.3f} ± 0.141", "0.200 ± 0.141", "2",
    ]  # fmt: skip
    assert second.table.rows[1][-2:] == ["0.000", "1"]


def test_the_exact_chart_has_means_below_the_bound():
    points = [ExactPoint(Member("vib", 0.1, s), 1.0 + s, 0.5, 1e-3) for s in (0, 1)]
    spec = exact_chart(points, REGION).to_dict()
    data = [row for layer in spec["layer"] for row in layer["data"]["values"]]
    (mean,) = {row["rate"] for row in data if "method" in row}
    assert mean == 1.5
    limit = [row for row in data if "top" in row]
    assert max(row["relevance"] for row in limit) <= REGION.information / math.log(2) + 1e-9
    assert max(row["rate"] for row in limit) == pytest.approx(2.04)
    # The shaded region reaches a little above I(X;Y), the most that any code can have.
    (top,) = {row["top"] for row in limit}
    assert top == pytest.approx(1.06 * REGION.information / math.log(2))


def test_codes_are_drawn_at_the_weakest_the_chosen_and_the_strongest_beta(small_run):
    (section,) = projection_sections(small_run)
    panels = [panel for row in section.chart.to_dict()["vconcat"] for panel in row["hconcat"]]
    titles = [panel["title"] for panel in panels]
    chosen = small_run.summary["vib"].knee.beta or small_run.summary["vib"].chosen_beta
    betas = dict.fromkeys([0.01, chosen, 1.0])
    assert titles == [
        "cross_entropy, beta = 0", *(f"vib, beta = {beta:g}" for beta in betas),
    ]  # fmt: skip
    pictures = small_run.pictures("vib")
    for panel, beta in zip(panels[1:], betas, strict=True):
        x = pictures[f"{beta!r}/projection"][:300, 0]
        assert [row["x"] for row in panel["data"]["values"]] == pytest.approx(x.tolist(), abs=1e-4)
    with pytest.raises(StoreError, match="has a latent to project"):
        projection_sections(FakeRun([record(0.1, place=None)]))


def accuracy_rows(sections, eps):
    (section,) = [section for section in sections if section.title == f"Accuracy at eps = {eps:g}"]
    return [row for row in section.chart.to_dict()["data"]["values"] if not row["knee"]]


def test_information_and_accuracy_against_beta_of_the_methods_that_have_several():
    run = swept({0.1: (0.5, 0.4), 0.2: (0.3, 0.2)})
    sections = beta_sections(run, [])
    assert [section.title for section in sections] == [
        "I(Z;Y) on training data",
        "I(X;Z) on training data",
        *(f"Accuracy at eps = {eps:g}" for eps in run.config.evaluate.eps),
    ]
    rows = accuracy_rows(sections, 0.1)
    assert {row["method"] for row in rows} == {"vib"}
    for section in sections[:2]:
        assert {row["method"] for row in section.chart.to_dict()["data"]["values"]} == {"vib"}
    assert {(row["attack"], row["value"]) for row in rows if row["seed"] == 0} == {
        ("clean", 0.9), ("FGS", 0.5), ("PGD", 0.4),
    }  # fmt: skip
    assert {row["value"] for row in accuracy_rows(sections, 0.2) if row["attack"] == "PGD"} == {0.2}
    assert len(beta_sections(swept(), [])) == 2  # nothing was attacked
    with pytest.raises(StoreError, match="trained at more than one beta"):
        beta_sections(FakeRun([record(0.1)]), [])


def test_audits_of_the_runs_own_models_are_drawn():
    run = swept({0.1: (0.5, 0.4)})
    ours = run.config.identity()
    audits = [
        audit(ours),
        audit(ours, norm="l2"),
        audit("another"),
        audit(ours, member=None),
        audit(ours, eps=0.2),
        audit(ours, member=Member("cross_entropy", 0.0, 0)),
    ]
    sections = beta_sections(run, audits)
    drawn = [row for row in accuracy_rows(sections, 0.1) if row["attack"] == "audit"]
    assert [(row["beta"], row["seed"], row["value"]) for row in drawn] == [(0.3, 1, 0.125)]
    assert any(row["attack"] == "audit" for row in accuracy_rows(sections, 0.2))
