"""Errors, rates and embeddings as they are drawn."""

import base64
import io
from dataclasses import replace

import pytest
import torch
from PIL import Image

from narrows.errors import StoreError
from narrows.papers.vib import Embedding, ShotError
from narrows.report.figures.vib import (
    _background,
    _corners,
    _shots,
    embedding_sections,
    error_sections,
)
from narrows.runs import Member
from scenarios_records import FakeRun, estimate, record

MEMBERS = [Member("vib", 0.1, 0), Member("vib", 0.1, 1), Member("vib", 1.0, 0)]
ERRORS = [
    ShotError(member, split, shots, 0.25 if shots == 1 else 0.125)
    for member in MEMBERS
    for split in ("train", "test")
    for shots in (1, 12)
]


def with_rate(beta, seed, rate=3.0, method="vib"):
    row = record(beta, seed, method=method)
    for estimates in row.information.values():
        estimates["variational_rate"] = estimate(rate)
        estimates["variational_relevance"] = estimate(1.0)
    return row


RUN = FakeRun([with_rate(member.beta, member.seed) for member in MEMBERS])


def test_each_method_has_its_errors_and_its_information():
    run = FakeRun(
        [*RUN.records(), with_rate(0.5, 0, method="ceb"), record(0.0, method="plain_")][:4]
    )
    sections = error_sections(run, [*ERRORS, ShotError(Member("ceb", 0.5, 0), "test", 1, 0.5)])
    assert [section.title for section in sections] == [
        "Error of vib", "Information of vib", "Error of ceb", "Information of ceb",
    ]  # fmt: skip
    rows = sections[0].chart.to_dict()["data"]["values"]
    assert {(row["from"], row["error"]) for row in rows} == {("1 draw", 0.25), ("12 draws", 0.125)}
    assert {row["split"] for row in rows} == {"training data", "test data"}


def test_a_run_without_rates_is_refused():
    with pytest.raises(StoreError, match="no model of here has a variational rate; train vib"):
        error_sections(FakeRun([record(0.1)]), [])
    with pytest.raises(StoreError, match="variational rate"):
        error_sections(FakeRun([with_rate(0.1, 0, rate=None)]), [])


def test_one_draw_and_several_are_spelt():
    assert (_shots(1), _shots(12)) == ("1 draw", "12 draws")


def embedding(member: Member) -> Embedding:
    return Embedding(
        member=member, mean=[[1.0, 2.0], [0.0, 0.0]], factor=[[1.0, 0.0, 0.0, 2.0]] * 2,
        label=[3, 4], centre=(0.5, 1.0), half=4.0, entropy=[0.0] * 16,
    )  # fmt: skip


def test_ellipses_hold_95_percent_of_a_posterior():
    header, *lines = _corners(embedding(MEMBERS[0])).splitlines()
    assert header == "image,corner,x,y,label"
    assert len(lines) == 2 * 17
    corners = torch.tensor([[float(part) for part in line.split(",")] for line in lines])
    first = corners[corners[:, 0] == 0]
    assert set(first[:, 4].tolist()) == {3.0}
    x, y = first[:, 2] - 1.0, (first[:, 3] - 2.0) / 2  # in standard deviations
    torch.testing.assert_close(x**2 + y**2, torch.full((17,), 5.991), atol=5e-3, rtol=0)
    torch.testing.assert_close(first[0, 2:4], first[-1, 2:4], atol=1e-3, rtol=0)


def test_a_panel_for_each_beta_of_the_first_seed():
    (section,) = embedding_sections(RUN, [embedding(member) for member in MEMBERS[::-1]], ERRORS)
    spec = section.chart.to_dict()
    assert [panel["title"] for panel in spec["concat"]] == [
        "vib, beta = 0.1: 25.0%, of 12 draws 12.5%",
        "vib, beta = 1: 25.0%, of 12 draws 12.5%",
    ]
    assert "first 500 test images" in section.text[0]


def test_the_darker_the_less_certain_with_the_second_coordinate_up():
    # Entropies at (z1, z2) = (0, 0), (0, 1), (1, 0), (1, 1): none, all of log2 4, half, none.
    row = replace(embedding(MEMBERS[0]), entropy=[0.0, 2.0, 1.0, 0.0])
    (section,) = embedding_sections(FakeRun([with_rate(0.1, 0)]), [row], ERRORS)
    picture = _background(row, classes=4)
    shades = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
    assert list(shades.tobytes()) == [round(255 * 0.4), 255, 255, round(255 * 0.7)]
    assert section.chart.to_dict()["concat"][0]["layer"][0]["mark"]["type"] == "image"
