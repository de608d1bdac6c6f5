"""The page of an audit: verdict, findings, attacks and surfaces."""

import math
from dataclasses import replace

import pytest
import vl_convert

from narrows.attacks.ledger import Entry
from narrows.experiments.auditing import (
    AuditRecord,
    AuditRequest,
    FindingRecord,
    SurfacePoint,
    VerdictRecord,
)
from narrows.report.audit import _attacks, _findings, descent, loss_surfaces, radii, write_audit


def entry(name, left, fooled=1):
    return Entry(name, f"{name}()", 1234, fooled, left, 20_000, 10_000)


REQUEST = AuditRequest(
    name="vib of a run", data="digits", eps=0.1, norm="linf", budget="fast", images=40,
    claimed=None, device="cpu", source="", weights="ab", twin=None, siblings=[],
)  # fmt: skip
RECORD = AuditRecord(
    request=REQUEST,
    verdict=VerdictRecord("confirmed", 0.5, 0.4, 0.3, 0.5, 40, 0.9, "It's at most 40 %."),
    findings=[
        FindingRecord("chance", True, "at chance", data={"curve": {"0.1": 0.4}, "chance": 0.1}),
        FindingRecord("gradients", False, "they vanish", "use another loss"),
        FindingRecord("seeds", True, "there is one", examined=False),
    ],
    attacks=[entry("fgsm", 0.6), entry("pgd", 0.6, 0), entry("pgd", 0.4)],
    remedies=["logits"],
    settings={"seed": 7},
)


def test_the_page_has_verdict_findings_and_every_attack(tmp_path):
    page = write_audit(tmp_path / "audit.html", RECORD).read_text().rpartition("<body>")[2]
    assert '<p class="verdict">It&#39;s at most 40 %.</p>' in page
    assert (
        "vib of a run. 40 images, linf, eps = 0.1, seed 7; 60,000 images forward, 30,000 backward."
    ) in page
    assert "<h2>Larger radii</h2>" in page
    assert "<h2>Loss surfaces</h2>" not in page
    assert page.count('class="chart"') == 2
    no_curve = replace(RECORD, findings=RECORD.findings[1:], settings={})
    page = write_audit(tmp_path / "audit.html", no_curve).read_text().rpartition("<body>")[2]
    assert "<h2>Larger radii</h2>" not in page
    assert "seed 0;" in page


def body(path, record):
    return write_audit(path / "audit.html", record).read_text().rpartition("<body>")[2]


def test_claimed_left_and_certified_stand_side_by_side(tmp_path):
    page = body(tmp_path, RECORD)
    assert "left by all attacks" in page
    assert '<td class="words">none</td>' in page
    assert "Nothing is certified" in page
    certain = replace(RECORD.verdict, certified=0.35, certified_by="linear bounds")
    page = body(tmp_path, replace(RECORD, verdict=certain))
    assert "35.0%" in page
    assert "between what is certified (linear bounds) and what was left" in page


def test_the_page_says_what_twins_were_trained_on(tmp_path):
    assert "were trained on" not in body(tmp_path, RECORD)
    source = {"twins_from": "2,000 training images"}
    trained = replace(RECORD, remedies=["ensemble", "twins"], settings=source)
    assert "were trained on 2,000 training images." in body(tmp_path, trained)


def test_findings_say_what_they_object_to():
    assert _findings(RECORD.findings).rows == [
        ["chance", "passed", "at chance", ""],
        ["gradients", "failed", "they vanish", "use another loss"],
        ["seeds", "not examined", "there is one", ""],
    ]


def test_every_attack_has_a_row():
    assert _attacks(RECORD.attacks).rows[2] == ["pgd", "1,234", "1", "40.0%", "20,000", "10,000"]
    assert len(_attacks(RECORD.attacks).rows) == 3


def test_only_attacks_that_fooled_another_image_are_drawn():
    attacks = [entry("pgd", 0.9), entry("pgd", 0.6), entry("fgsm", 0.6), entry("pgd", 0.5)]
    spec = descent(attacks, 0.9).to_dict()
    rows = spec["data"]["values"]
    assert [(row["attack"], row["left"]) for row in rows] == [
        ("no attack", 0.9),
        ("pgd", 0.6),
        ("pgd (2)", 0.5),
    ]
    order = spec["layer"][0]["encoding"]["y"]["sort"]
    assert order == ["no attack", "pgd", "pgd (2)"]
    assert spec["height"] == 66
    assert descent([], 0.9).to_dict()["height"] == 60


def test_radii_are_numbers_and_chance_is_a_line():
    svg = vl_convert.vegalite_to_svg(radii({"0.1": 0.5, "0.25": 0.2}, 0.1, "l2").to_dict())
    assert "eps, l2 radius in the [0, 1] image range" in svg
    assert ">chance<" in svg


def surface(correct=True):
    steps = [-1.0, 0.0, 1.0]
    return [SurfacePoint(i, a, b, a + b + 2, correct or a < 1) for i in (0, 1) for a in steps
            for b in steps]  # fmt: skip


def test_each_cell_of_a_surface_is_one_step_wide(tmp_path):
    data = loss_surfaces(surface()).to_dict()["data"]["values"]
    assert all(row["a1"] - row["a"] == row["b1"] - row["b"] == 1.0 for row in data)
    assert len(data) == 18
    svg = vl_convert.vegalite_to_svg(loss_surfaces(surface(correct=False)).to_dict())
    assert "white grid: misclassified" in svg
    page = write_audit(tmp_path / "audit.html", RECORD, surface()).read_text()
    assert "<h2>Loss surfaces</h2>" in page


def test_losses_may_be_large():
    points = [replace(point, loss=1e30) for point in surface()]
    assert math.isfinite(loss_surfaces(points).to_dict()["data"]["values"][0]["loss"])


@pytest.mark.parametrize("name", ["</script>", "<b>&"])
def test_names_are_escaped(name, tmp_path):
    named = replace(RECORD, request=replace(REQUEST, name=name))
    page = write_audit(tmp_path / "audit.html", named).read_text().rpartition("<body>")[2]
    assert f"{name}. 40 images" not in page
