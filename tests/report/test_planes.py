"""Information planes: the table, the chart and the page."""

import re

import pytest
import vl_convert

from narrows.errors import InputError
from narrows.experiments.planes import PlaneRow
from narrows.report.planes import plane_chart, plane_table, write_plane


def plane_row(
    model="vib", beta=0.1, epoch=None, layer="latent", rate=2.0, seed=0, saturated=False,
    measures="the code with noise",
) -> PlaneRow:  # fmt: skip
    return PlaneRow(
        model=model, beta=beta, seed=seed, epoch=epoch, layer=layer, rate=rate, relevance=rate / 2,
        entropy=1.0, ceiling=6.5, saturated=saturated, measures=measures,
    )  # fmt: skip


def test_the_table_has_means_over_seeds():
    rows = [
        plane_row(rate=2.0, saturated=True),
        plane_row(rate=3.0, seed=1),
        plane_row(layer="encoder", rate=4.0),
        plane_row(beta=3.0, rate=1.0, saturated=True),
    ]
    table = plane_table(rows)
    assert table.columns == [
        "model", "beta", "layer", "I(X;T) bits", "I(T;Y) bits", "seeds", "remark",
    ]  # fmt: skip
    assert table.rows == [
        ["vib", "0.1", "latent", "2.500 ± 0.707", "1.250 ± 0.354", "2", "1 within 5 % of log n"],
        ["vib", "0.1", "encoder", "4.000", "2.000", "1", ""],
        ["vib", "3", "latent", "1.000", "0.500", "1", "1 within 5 % of log n"],
    ]


def test_of_recorded_epochs_the_last_is_in_the_table():
    rows = [plane_row("recorded", None, epoch, rate=epoch + 1.0) for epoch in (0, 30, 10)]
    assert plane_table(rows).rows == [["recorded", "-", "latent", "31.000", "15.500", "1", ""]]


def test_a_plane_names_its_limits_and_the_beta_of_each_line():
    rows = [
        plane_row(beta=beta, layer=layer, rate=rate)
        for beta, rates in ((0.1111111, (2.0, 1.5)), (0.37, (1.0, 0.5)))
        for layer, rate in zip(("encoder.1", "latent"), rates, strict=True)
    ]
    svg = vl_convert.vegalite_to_svg(plane_chart(rows).to_dict())
    shown = re.findall(r">([^<>]+)</text>", svg)
    assert [shown.count(name) for name in ("H(Y)", "log n", "vib")] == [1, 1, 1]
    assert [shown.count(beta) for beta in ("0.11", "0.37")] == [1, 1]


def test_a_recorded_plane_follows_each_layer_along_its_epochs():
    rows = [plane_row("recorded", None, epoch, layer) for layer in "ab" for epoch in (30, 0, 1)]
    data = plane_chart(rows).to_dict()["data"]["values"]
    ranks = {(row["layer"], row["epoch"]): row["rank"] for row in data}
    assert ranks == {(layer, e): r for layer in "ab" for r, e in enumerate((0, 1, 30))}


def test_the_page_says_how_each_layer_was_measured_and_which_way_time_runs(tmp_path):
    rows = [
        plane_row("recorded", None, epoch, layer, rate, measures=measures)
        for layer, rate, measures in (("1", 2.0, "the code with noise"), ("latent", 1.0, "codes"))
        for epoch in (0, 30)
    ]
    page = write_plane(rows, tmp_path / "plane.html").read_text()
    assert "Measured: the code with noise; of latent of recorded: codes." in page
    assert "H(Y) = 1.00 bits or log n = 6.50 bits" in page
    assert "from epoch 0 (small points) to 30 (large" in page
    page = write_plane([plane_row()], tmp_path / "plane.html").read_text()
    assert "A line joins the layers of one network" in page
    assert "Measured: the code with noise. Nothing" in page


def test_nothing_cannot_be_drawn(tmp_path):
    with pytest.raises(InputError, match="there are no points to draw"):
        write_plane([], tmp_path / "plane.html")
    assert list(tmp_path.iterdir()) == []


def marks(chart, kind):
    layers = chart.to_dict()["spec"]["layer"]
    return [layer["encoding"] for layer in layers if layer["mark"]["type"] == kind]


def test_lines_join_the_layers_of_a_beta_or_the_epochs_of_a_layer():
    (line,), (point,) = (marks(plane_chart([plane_row()]), kind) for kind in ("line", "circle"))
    assert line["detail"]["field"] == "beta"
    assert line["color"] == {"value": "#888888"}
    assert point["size"] == {"value": 60}
    assert [shown["field"] for shown in point["tooltip"]] == ["layer", "beta", "rate", "relevance"]
    recorded = plane_chart([plane_row("recorded", None, epoch) for epoch in (0, 9)])
    (line,), (point,) = (marks(recorded, kind) for kind in ("line", "circle"))
    assert line["detail"]["field"] == "layer"
    assert line["color"]["field"] == "layer"
    assert point["size"]["field"] == "rank"
    assert point["tooltip"][1]["field"] == "epoch"
