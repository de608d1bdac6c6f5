"""Trained codes of the twelve-bit patterns under the exact curve."""

import math

import pytest

from narrows.data.twelve_bit import joint, patterns
from narrows.errors import ConfigError
from narrows.information import posterior_information
from narrows.papers.aib import exact_curve, exact_region
from narrows.runs import Progress
from narrows.runs.evaluate import encode
from scenarios_runs import tiny_run


@pytest.fixture(scope="module")
def twelve_bit(tmp_path_factory):
    settings = {"data": "twelve-bit", "betas": [0.01, 0.3, 3.0], "seeds": 1}
    return tiny_run(tmp_path_factory.mktemp("twelve"), **settings)


def test_no_model_is_above_the_exact_bound(twelve_bit):
    points = exact_curve(twelve_bit, Progress())
    assert [point.member for point in points] == twelve_bit.members()
    region = exact_region()
    assert region.information / math.log(2) == pytest.approx(0.99, abs=0.01)
    for point in points:
        allowed = region.bound([point.rate * math.log(2)]).item() / math.log(2)
        assert 0 <= point.error < 0.05
        assert -point.error < point.relevance <= allowed + 4 * point.error


def test_the_plain_code_is_measured_after_noise(twelve_bit):
    points = exact_curve(twelve_bit, Progress())
    assert points[0].member.method == "cross_entropy"
    assert 0 < points[0].rate < 12


def test_the_error_is_in_bits(twelve_bit):
    point = exact_curve(twelve_bit, Progress())[1]
    latent = encode(twelve_bit.model(point.member), patterns())
    p_xy = joint()
    p_yx = p_xy / p_xy.sum(1, keepdim=True)
    rate, relevance = posterior_information(latent.mean, latent.scale, p_yx)
    nats = max(rate.std_error, relevance.std_error)
    assert point.error == pytest.approx(nats / math.log(2), rel=0.2)


def test_measurements_are_kept(twelve_bit):
    points = exact_curve(twelve_bit, Progress())
    path = twelve_bit.path / "figures" / "exact_curve.json"
    stamp = path.stat().st_mtime_ns
    assert exact_curve(twelve_bit, Progress()) == points
    assert path.stat().st_mtime_ns == stamp
    path.unlink()
    assert exact_curve(twelve_bit, Progress()) == points  # the same draws again


def test_other_data_have_no_exact_curve(small_run):
    with pytest.raises(ConfigError, match="known for twelve-bit data only, not digits"):
        exact_curve(small_run, Progress())
    assert not (small_run.path / "figures").exists()


def test_a_model_without_a_latent_has_no_place(tmp_path):
    settings = {"data": "twelve-bit", "methods": ["cross_entropy"], "seeds": 1}
    run = tiny_run(tmp_path, **settings, network={"bottleneck": 0}, train={"epochs": 1})
    with pytest.raises(ConfigError, match="this figure is of latents"):
        exact_curve(run, Progress())
