import altair as alt
import vl_convert

from narrows.report.figures.charts import against_beta

ROWS = [
    {"method": method, "beta": beta, "seed": seed, "value": beta + seed}
    for method in ("vib", "aib") for beta in (0.1, 1.0) for seed in (0, 1)
]  # fmt: skip
COLUMN = alt.Column("method:N", title=None, sort=["vib", "aib"])


def test_every_model_and_every_knee_is_drawn():
    chart = against_beta(
        ROWS, "bits", alt.value("red"), COLUMN, knees=[{"method": "vib", "beta": 1}]
    )
    data = chart.to_dict()["data"]["values"]
    assert [row["knee"] for row in data] == [False] * 8 + [True]
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    assert svg.index(">vib<") < svg.index(">aib<")
    assert ">bits<" in svg


def test_shares_have_an_axis_in_percent():
    shares = [{**row, "value": 0.5} for row in ROWS]
    percent = against_beta(shares, "accuracy", alt.value("red"), COLUMN, percent=True).to_dict()
    scales = [layer["encoding"]["y"].get("scale") for layer in percent["spec"]["layer"][1:]]
    assert scales[0] == {"domain": [0, 1]}
    assert "100%" in vl_convert.vegalite_to_svg(percent)
