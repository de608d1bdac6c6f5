"""The charts of a run: their data, axes and choices."""

import pytest
import vl_convert

from narrows.report.plots import (
    PALETTE,
    accuracy_against_beta,
    accuracy_against_eps,
    ib_curves,
    log_beta,
    projections,
)


def model(method="vib", beta=0.1, split="test data", rate=2.0, relevance=1.0):
    place = {"rate": rate, "relevance": relevance}
    return {"method": method, "beta": beta, "seed": 0, "split": split, **place}


def rows_of(spec, layer):
    return [row for row in spec["data"]["values"] if row["layer"] == layer]


def drawn(chart) -> str:
    return vl_convert.vegalite_to_svg(chart.to_dict())


def test_curves_have_the_bounds_that_nothing_exceeds():
    chart = ib_curves([model(rate=5.0), model("aib", split="training data")], [model()], 3.3)
    spec = chart.to_dict()
    assert len(rows_of(spec, "member")) == 2
    assert len(rows_of(spec, "knee")) == 1
    bounds = {
        (row["split"], row["bound"], row["rate"], row["relevance"])
        for row in rows_of(spec, "bound")
    }
    assert bounds == {
        (split, *bound)
        for split in ("training data", "test data")
        for bound in (
            ("I(Z;Y) = I(X;Z)", 0.0, 0.0), ("I(Z;Y) = I(X;Z)", 3.3, 3.3),
            ("I(Z;Y) = H(Y)", 0.0, 3.3), ("I(Z;Y) = H(Y)", 5.0, 3.3),
        )
    }  # fmt: skip
    svg = drawn(chart)
    assert all(name in svg for name in ("training data", "test data", "I(X;Z), bits", "aib"))


def test_the_diagonal_ends_where_the_codes_do():
    spec = ib_curves([model(rate=2.0)], [], 3.3).to_dict()
    ends = {row["rate"] for row in rows_of(spec, "bound") if row["bound"] == "I(Z;Y) = I(X;Z)"}
    assert ends == {0.0, 2.0}
    above = ib_curves([model(rate=9.0, relevance=4.0)], [], 3.3).to_dict()
    ends = {row["rate"] for row in rows_of(above, "bound") if row["bound"] == "I(Z;Y) = I(X;Z)"}
    assert ends == {0.0, 4.0}


def eps_row(method, choice, eps=0.1):
    band = {"mean": 0.5, "low": 0.4, "high": 0.6}
    return {"method": method, "beta": 1, "choices": [choice], "attack": "pgd", "eps": eps, **band}


def test_accuracy_against_eps_offers_the_choices_and_begins_with_the_first():
    chart = accuracy_against_eps(
        [eps_row("vib", "val"), eps_row("vib", "knee"), eps_row("b", "val")]
    )
    spec = chart.to_dict()
    (pick,) = [param for param in spec["params"] if param["name"] == "choice"]
    assert (pick["value"], pick["bind"]["options"]) == ("val", ["val", "knee"])
    colour = spec["layer"][0]["encoding"]["color"]["scale"]
    assert colour == {"domain": ["vib", "b"], "range": PALETTE[:2]}
    assert "eps, Linf radius" in drawn(chart)


def test_accuracy_against_beta_begins_with_the_middle_radius():
    rows = [
        {"method": m, "beta": b, "attack": a, "eps": e, "mean": 0.5, "low": 0.4, "high": 0.6}
        for m in ("vib", "aib") for b in (0.1, 1.0)
        for a, e in (("clean", None), ("pgd", 0.1), ("pgd", 0.2), ("pgd", 0.3))
    ]  # fmt: skip
    chart = accuracy_against_beta(rows, [0.1, 0.2, 0.3])
    (pick,) = [param for param in chart.to_dict()["params"] if param["name"] == "radius"]
    assert (pick["value"], pick["bind"]["options"]) == (0.2, [0.1, 0.2, 0.3])
    svg = drawn(chart)
    assert svg.index(">vib<") < svg.index(">aib<")


@pytest.mark.parametrize(("ranks", "middle"), [(1, 0), (2, 1), (3, 1), (6, 3)])
def test_projections_begin_in_the_middle_of_the_betas(ranks, middle):
    rows = [
        {"method": "vib", "beta": 0.1 * (1 + rank), "rank": rank, "only": ranks == 1, "x": 0.0,
         "y": 1.0, "label": 3}
        for rank in range(ranks)
    ]  # fmt: skip
    chart = projections(rows)
    (pick,) = [param for param in chart.to_dict()["params"] if param["name"] == "rank"]
    assert (pick["value"], pick["bind"]["max"]) == (middle, ranks - 1)
    assert f"beta = {0.1 * (1 + middle)}"[:10] in drawn(chart)


def test_only_some_ticks_of_beta_have_a_label():
    axis = log_beta("weight").to_dict()
    assert (axis["title"], axis["scale"]) == (
        "weight",
        {"type": "log", "nice": False, "padding": 8},
    )
