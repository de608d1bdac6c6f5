"""Several runs in one chart: a panel for each method, a colour for each run."""

import vl_convert

from narrows.report.overlays import curves_of_runs, robustness_of_runs, sweeps_of_runs
from narrows.report.plots import PALETTE
from narrows.report.selection import BETA, METHOD

SERIES = [
    {"run": run, "method": method, "beta": beta}
    for run in ("first", "second") for method in ("vib", "aib") for beta in (0.1, 1.0)
]  # fmt: skip
BAND = {"mean": 0.5, "low": 0.4, "high": 0.6}


def drawn(chart) -> str:
    """The picture of a linked chart whose colours are the runs'."""
    spec = chart.to_dict()
    assert {METHOD, BETA} <= {param["name"] for param in spec["params"]}
    (colour,) = {str(layer["encoding"]["color"]["scale"]) for layer in spec["spec"]["layer"]}
    assert colour == str({"domain": ["first", "second"], "range": PALETTE[:2]})
    svg = vl_convert.vegalite_to_svg(spec)
    assert svg.index(">vib<") < svg.index(">aib<")
    return svg


def test_ib_curves_have_crosses_and_units():
    place = {"rate": 2.0, "rate_low": 1.5, "rate_high": 2.5}
    place |= {"relevance": 1.0, "low": 0.5, "high": 1.5}
    chart = curves_of_runs([row | place for row in SERIES])
    svg = drawn(chart)
    assert ">I(X;Z), bits<" in svg
    assert ">I(Z;Y), bits<" in svg
    marks = [layer["mark"]["type"] for layer in chart.to_dict()["spec"]["layer"]]
    assert marks == ["rule", "rule", "line", "circle"]


def test_accuracy_against_eps_has_a_band_for_each_run_and_attack():
    rows = [
        {**row, "attack": attack, "eps": eps, **BAND}
        for row in SERIES if row["beta"] == 0.1
        for attack in ("fgsm", "pgd") for eps in (0.0, 0.1)
    ]  # fmt: skip
    svg = drawn(robustness_of_runs(rows))
    assert "eps, Linf radius in the [0, 1] image range" in svg
    assert svg.count('aria-roledescription="area mark"') == 2 * 2 * 2


def test_accuracy_against_beta_begins_with_the_middle_radius_and_says_so():
    radii = [0.0, 0.1, 0.2]
    rows = [{**row, "eps": eps, **BAND} for row in SERIES for eps in radii]
    chart = sweeps_of_runs(rows, radii)
    (pick,) = [param for param in chart.to_dict()["params"] if param["name"] == "radius"]
    assert (pick["value"], pick["bind"]["options"]) == (0.1, radii)
    assert ">PGD at eps = 0.1<" in drawn(chart)
