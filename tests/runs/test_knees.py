"""Where the curve of a method bends most, over its seeds, or why that cannot be said."""

import math

import pytest

from narrows.runs.knees import CurvePoint, KneeRecord, find_knee
from scenarios_records import record

# In nats on test data; on training data both are 0.5 less.
CURVE = {1.0: (0.5, 0.5), 0.1: (2.5, 2.5), 0.01: (4.5, 2.7), 0.001: (6.5, 2.8)}
BITS = 1 / math.log(2)


def records(curve=CURVE, seeds=(0, 1), shift=0.01):
    return [
        record(beta, seed, place=(rate + shift * seed, relevance))
        for beta, (rate, relevance) in curve.items()
        for seed in seeds
    ]


def test_the_knee_is_where_relevance_stops_growing():
    knee = find_knee(records())
    assert knee.point is not None
    assert knee.beta == knee.point.beta == 0.1
    assert knee.point.rate == pytest.approx(2.005 * BITS)
    assert knee.point.relevance == pytest.approx(2.0 * BITS)
    assert knee.interval == (0.1, 0.1)
    assert knee.by_seed == [0.1, 0.1]
    assert (knee.seeds, knee.clear_share, knee.why) == (2, 1.0, None)
    # From collapse to the last point relevance has risen by 2 of 2.3 and rate by 2 of 6.
    assert knee.height == pytest.approx(2 / 2.3 - 2 / 6, abs=1e-3)


def test_the_curve_is_that_of_the_named_data():
    knee = find_knee(records(), "test")
    assert knee.point is not None
    assert knee.point.rate == pytest.approx(2.505 * BITS)
    assert knee.point.relevance == pytest.approx(2.5 * BITS)


def test_the_second_criterion_is_the_least_rate_within_one_error_of_the_best():
    exact = find_knee(records())
    assert exact.one_error is not None
    assert exact.one_error.beta == 0.001
    noisy = [
        record(beta, seed, place=(rate, relevance + (0.3 * seed if beta < 0.1 else 0)))
        for beta, (rate, relevance) in CURVE.items()
        for seed in (0, 1)
    ]
    one_error = find_knee(noisy).one_error
    assert isinstance(one_error, CurvePoint)
    assert one_error.beta == 0.01
    assert one_error.rate == pytest.approx(4.0 * BITS)
    assert one_error.relevance == pytest.approx(2.35 * BITS)


def test_a_straight_curve_has_no_knee_and_says_why():
    line = {beta: (rate, 0.5 + 0.4 * (rate - 0.5)) for beta, (rate, _) in CURVE.items()}
    knee = find_knee(records(line))
    assert (knee.point, knee.beta, knee.height, knee.interval) == (None, None, None, None)
    assert knee.why is not None
    assert "bends too little" in knee.why
    assert (knee.seeds, knee.clear_share, knee.by_seed) == (2, 0.0, [])
    assert knee.one_error is not None


def test_fewer_than_three_betas_have_no_knee():
    two = dict(list(CURVE.items())[:2])
    assert find_knee(records(two)) == KneeRecord(why="a knee needs at least 3 betas, there are 2")
    assert find_knee([]).why == "a knee needs at least 3 betas, there are 0"
    three = dict(list(CURVE.items())[:3])
    assert find_knee(records(three)).beta == 0.1


def test_models_without_a_latent_have_no_knee():
    some = [*records(), record(0.5, place=None)]
    knee = find_knee(some)
    assert knee == KneeRecord(why="no I(X;Z) was measured: no latent, or one of full covariance")


def test_a_seed_that_lost_a_model_is_left_out_of_the_curve():
    rows = [row for row in records(shift=1.0) if (row.beta, row.seed) != (0.1, 1)]
    knee = find_knee(rows)
    assert (knee.seeds, knee.beta) == (1, 0.1)
    assert knee.point is not None
    assert knee.point.rate == pytest.approx(2.0 * BITS)
    none = [row for row in rows if (row.beta, row.seed) != (1.0, 0)]
    assert find_knee(none) == KneeRecord(
        why="no seed has a model at every beta, since some have diverged"
    )


def test_a_seed_whose_own_curve_is_straight_has_no_knee_of_its_own():
    line = {beta: (rate, 0.5 + 0.383 * (rate - 0.5)) for beta, (rate, _) in CURVE.items()}
    knee = find_knee([*records(seeds=(0, 1, 2)), *records(line, seeds=(3,))])
    assert knee.by_seed == [0.1, 0.1, 0.1, None]
    assert (knee.beta, knee.seeds) == (0.1, 4)
    assert 0 < knee.clear_share <= 1
