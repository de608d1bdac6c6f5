"""The bench of estimators, `benchmarks/estimators/bench.py`: its rows, its page, its samplers."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import vl_convert

from narrows.information import ESTIMATORS

FOLDER = Path(__file__).parents[2] / "benchmarks" / "estimators"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import bench
    import samplers

    return SimpleNamespace(**vars(bench), samplers=samplers)


def test_rows_are_json_and_the_chart_is_drawn(bench):
    """Vega does not draw NaN, and draws nothing of some charts that Altair accepts."""
    wide, narrow = bench.LABELLED[3], bench.LABELLED[0]
    rows = [
        bench.measure(name, sampler, 100, 1)
        for name in ("ksg_relevance", "binned_relevance")
        for sampler in (wide, narrow)
    ]
    assert rows[0]["stated_error"] is None
    assert rows[1]["stated_error"] > 0
    json.dumps(rows, allow_nan=False)
    svg = vl_convert.vegalite_to_svg(bench.chart(rows).to_dict())
    for row in rows:
        assert row["sampler"] in svg
        assert row["estimator"] in svg
        shown = f"{100 * row['relative_bias']:+.0f}%".replace("-", "\N{MINUS SIGN}")
        assert shown in svg


def test_the_table_says_where_an_estimator_fails_and_whether_it_warned(bench):
    rows = [bench.measure("ksg", sampler, 300, 1) for sampler in bench.PAIRS[:3]]
    [(name, believed, smallest, where, warned, _)] = bench.which_when(rows).rows
    assert (name, believed, smallest) == ("ksg", "1 of 3 at n = 300", "300")
    assert "d = 10" in where
    assert "d = 1, 1.4" not in where
    assert warned == "100%"


def test_every_estimator_is_on_the_bench_with_what_it_needs(bench):
    cases = list(bench.cases(quick=False))
    assert {name for name, *_ in cases} == set(bench.WAYS)
    # Left out: what measures another quantity, and what needs a decoder.
    on_the_bench = {way.estimator for way in bench.WAYS.values()}
    assert ESTIMATORS.keys() - on_the_bench == {
        "binned_rate",
        "renyi_information",
        "variational_relevance",
    }
    assert {n for _, _, n, _ in cases} == {100, 500, 2000, 10_000, 20_000}
    assert {sampler.dimension for _, sampler, *_ in cases} >= {1, 2, 3, 10, 30, 100}
    for sampler in (*bench.PAIRS, *bench.LABELLED):
        draw = sampler.sample(50, 0)
        assert len(draw.x) == len(draw.z) == 50
        assert torch.equal(draw.z, sampler.sample(50, 0).z)
