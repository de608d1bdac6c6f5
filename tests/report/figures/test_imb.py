"""Learning dynamics: means over seeds, and how soon a layer knows enough."""

import math

import pytest

from narrows.papers.imb import PlaneConfig, PlanePoint, Reached, TrainingPlane
from narrows.report.figures.imb import _powers, dynamics_sections, layer_rows

POINTS = [PlanePoint(epoch, [[2.0, 1.0]], [[0.5, 0.2]]) for epoch in (0, 1, 10)]
REACHED = Reached(0.1, [0.1, 0.1], [0.5, 0.25])
PLANE = TrainingPlane(
    PlaneConfig(methods=["sfnn", "joint_imb"], seeds=1),
    {"sfnn": POINTS, "joint_imb": POINTS},
    {"sfnn": REACHED, "joint_imb": Reached(None, [None, None], [0.5, 0.2])},
)


def test_the_layers_of_a_plane_are_means_over_seeds():
    point = PlanePoint(3, [[2.0, 1.0], [4.0, 1.0]], [[0.5, 0.2], [0.7, 0.2]])
    first, second = layer_rows({"sfnn": [point]})
    assert (first["rate"], first["relevance"], first["layer"]) == (3.0, pytest.approx(0.6), 1)
    assert first["high"] - first["low"] == pytest.approx(2 * math.sqrt(0.02))
    assert second["low"] == second["high"] == pytest.approx(0.2)
    assert (second["method"], second["epoch"], second["layer"]) == ("sfnn", 3, 2)


def test_a_band_does_not_go_below_nothing():
    point = PlanePoint(3, [[1.0], [1.0]], [[0.0], [0.1]])
    (row,) = layer_rows({"sfnn": [point]})
    assert row["low"] == 0.0
    assert row["high"] == pytest.approx(0.05 + 0.1 / math.sqrt(2))


def test_the_table_says_when_or_never():
    sections = dynamics_sections(PLANE)
    table = sections[2].table
    assert table is not None
    assert table.columns == [
        "method", "layer 1 reaches it after", "I(Z1;Y) at the end", "I(Z2;Y) at the end", "highest",
    ]  # fmt: skip
    assert table.rows == [
        ["sfnn", "10.00% of SFNN's epochs", "0.500", "0.200", "0.500"],
        ["joint_imb", "never", "0.500", "0.200", "0.500"],
    ]
    assert [section.chart is not None for section in sections] == [True, True, False]
    rows = sections[1].chart.to_dict()["data"]["values"]
    assert {row["epoch"] for row in rows} == {1, 10}  # a logarithm has no place for 0


def test_without_the_reference_there_is_no_table_of_epochs():
    plane = TrainingPlane(PLANE.config, PLANE.points, {})
    table = dynamics_sections(plane)[2].table
    assert table is not None
    assert table.rows == []


def test_ticks_are_powers_of_ten_up_to_the_last_epoch():
    assert _powers([{"epoch": 0}, {"epoch": 999}]) == [1, 10, 100]
    assert _powers([{"epoch": 1000}]) == [1, 10, 100, 1000]
    assert _powers([{"epoch": 0}]) == [1]
