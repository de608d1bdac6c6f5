"""What a chart needs so that a model picked in another one is highlighted in it."""

import altair as alt
import vl_convert

from narrows.report.selection import BETA, METHOD, highlighted, highlighted_method, linked

ROWS = [{"x": beta, "method": method, "beta": beta} for method in ("vib", "aib") for beta in (1, 2)]


def opacities(opacity, method, beta) -> list[float]:
    """The opacity of each mark of a chart in which a model is picked."""
    base = alt.Chart(alt.Data(values=ROWS)).mark_point().encode(alt.X("x:Q"), opacity)
    spec = linked(base).to_dict()
    assert [param["value"] for param in spec["params"]] == [None, None]
    for param in spec["params"]:
        param["value"] = {METHOD: method, BETA: beta}[param["name"]]
    compiled = vl_convert.vegalite_to_svg(spec)
    marks = [line for line in compiled.split("<path ") if 'aria-roledescription="point"' in line]
    return [float(mark.partition(' opacity="')[2].partition('"')[0]) for mark in marks]


def test_nothing_is_faint_in_a_picture():
    assert opacities(highlighted(0.5), None, None) == [0.5] * 4


def test_other_models_are_faint():
    assert opacities(highlighted(0.5), "vib", 2) == [0.06, 0.5, 0.06, 0.06]
    assert opacities(highlighted(0.5), None, 2) == [0.06, 0.5, 0.06, 0.5]
    assert opacities(highlighted(0.5), "aib", None) == [0.06, 0.06, 0.5, 0.5]


def test_a_method_stays_whole_when_one_of_its_betas_is_picked():
    assert opacities(highlighted_method(0.5), "vib", 2) == [0.5, 0.5, 0.06, 0.06]
