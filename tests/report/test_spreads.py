import math

import pytest

from narrows.report.spreads import centre, spread_text


def test_mean_and_deviation_as_text():
    assert spread_text([1.0, 3.0]) == "2.000 ± 1.414"
    assert spread_text([0.12345]) == "0.123"
    assert spread_text([0.5, 0.5, 0.5]) == "0.500 ± 0.000"


def test_the_centre_of_points_with_one_deviation_to_either_side():
    row = centre([(1.0, 10.0), (3.0, 14.0)])
    assert row == {
        "rate": 2.0,
        "rate_low": pytest.approx(2 - math.sqrt(2)),
        "rate_high": pytest.approx(2 + math.sqrt(2)),
        "relevance": 12.0,
        "low": pytest.approx(12 - math.sqrt(8)),
        "high": pytest.approx(12 + math.sqrt(8)),
    }
    assert set(centre([(1.0, 2.0)]).values()) == {1.0, 2.0}
