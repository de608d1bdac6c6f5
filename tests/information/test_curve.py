import numpy as np
import pytest

from narrows.errors import InputError
from narrows.information import (
    IBPoint,
    Knee,
    NoClearKnee,
    concave_envelope,
    information_bottleneck,
    knee,
    knee_over_seeds,
    one_error_rule,
)
from scenarios import BinarySymmetric, SaturatingCurve

CORNER = [(2.0, 0.0, 0.0), (0.5, 1.0, 0.4), (0.1, 2.0, 0.8), (0.01, 5.0, 0.9), (0.001, 8.0, 1.0)]


def clear(points) -> Knee:
    found = knee(points)
    assert isinstance(found, Knee)
    return found


def reason(points) -> str:
    found = knee(points)
    assert isinstance(found, NoClearKnee)
    return found.reason


def slow_envelope(points, rate):
    """Height of the least concave, never falling majorant at `rate`: the best mixture of two."""
    best = max(relevance for _, r, relevance in points if r <= rate)
    for _, r1, v1 in points:
        for _, r2, v2 in points:
            if r1 < rate < r2:
                best = max(best, v1 + (v2 - v1) * (rate - r1) / (r2 - r1))
    return best


def random_curve(seed, n=12):
    return np.random.default_rng(seed).uniform(size=(n, 3)).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_the_envelope_is_the_best_that_two_points_can_mix(seed):
    points = random_curve(seed)
    hull = [points[i] for i in concave_envelope(points)]
    rates = [row[1] for row in hull]
    assert rates == sorted(rates)
    for rate in np.linspace(min(p[1] for p in points), 1, 50):
        drawn = np.interp(rate, rates, [row[2] for row in hull])
        assert drawn == pytest.approx(slow_envelope(points, rate))


def test_the_envelope_leaves_out_what_lies_on_or_below_it():
    points = [(0, 2, 2), (0, 0, 0), (0, 1, 1), (0, 2, 1), (0, 3, 1.5), (0, 3, 2), (0, 4, 2.5)]
    assert concave_envelope(points) == [1, 0, 6]
    assert concave_envelope([]) == []


def test_the_knee_of_a_bent_line_is_its_corner():
    found = clear(CORNER)
    assert found.index == 2
    assert found.point == IBPoint(0.1, 2.0, 0.8)
    assert found.height == pytest.approx(0.8 - 2 / 8)


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_the_points_and_the_units_do_not_matter(seed):
    order = np.random.default_rng(seed).permutation(5)
    shuffled = [(b, 7 * rate + 1, 3 * relevance - 2) for b, rate, relevance in CORNER]
    found = clear([shuffled[i] for i in order])
    assert found.point.beta == 0.1
    assert order[found.index] == 2
    assert found.height == pytest.approx(knee(CORNER).height)


@pytest.mark.parametrize("decay", [0.5, 1.0, 2.0])
def test_the_knee_of_a_smooth_curve_is_where_its_slope_is_that_of_the_chord(decay):
    target = SaturatingCurve(decay=decay)
    assert clear(target.points(400)).point.rate == pytest.approx(target.knee_rate, abs=8 / 399)


@pytest.mark.parametrize("seed", range(30))
def test_noise_does_not_move_the_knee_of_a_bent_line(seed):
    """Rises to 0.61 of the range of relevance within 0.15 of the range of rate."""
    rates = np.append(np.linspace(0, 0.15, 8), np.linspace(0.2, 1, 17))
    relevances = np.interp(rates, [0, 0.15, 1], [0, 0.61, 1])
    noisy = relevances + 0.002 * np.random.default_rng(seed).standard_normal(25)
    found = clear(zip(rates[::-1], rates, noisy, strict=True))
    assert found.index == 7
    assert found.height == pytest.approx(0.46, abs=0.01)


@pytest.mark.parametrize("seed", range(30))
def test_noise_moves_the_knee_of_a_smooth_curve_little(seed):
    target = SaturatingCurve()
    found = clear(target.points(40, noise=0.002, seed=seed))
    assert found.point.rate == pytest.approx(target.knee_rate, abs=0.06 * 8)
    assert found.height == pytest.approx(knee(target.points(40)).height, abs=0.01)


@pytest.mark.parametrize("seed", range(30))
def test_noise_alone_makes_no_knee(seed):
    noise = 0.002 * np.random.default_rng(seed).standard_normal((2, 20))
    collapsed = zip(noise[0], abs(noise[0]), noise[1], strict=True)
    assert not knee(collapsed)
    rates = np.linspace(0, 1, 20)
    assert not knee(zip(rates[::-1], rates, rates + noise[1], strict=True))


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_much_noise_makes_few_knees(noise):
    """A line, and a level with what is no rise at all: 40 knees of 40 without the depth."""
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rates = np.linspace(0, 1, 40)
        for rise in (0, 1):
            noisy = rise * rates + noise * rng.standard_normal(40)
            found += bool(knee(zip(rates[::-1], rates, noisy, strict=True)))
    assert found <= 4


@pytest.mark.parametrize("seed", range(10))
def test_a_knee_stands_out_of_noise_of_a_thirtieth(seed):
    target = SaturatingCurve()
    curve = target.points(40)
    spread = 0.03 * max(relevance for *_, relevance in curve)
    noisy = spread * np.random.default_rng(seed).standard_normal(40)
    points = [(b, r, v + e) for (b, r, v), e in zip(curve, noisy, strict=True)]
    assert clear(points).point.rate == pytest.approx(target.knee_rate, abs=0.15 * 8)


def test_a_straight_line_a_collapse_and_too_few_points_have_no_knee():
    line = knee([(1 - i / 10, i / 10, i / 10) for i in range(11)])
    assert isinstance(line, NoClearKnee)
    assert not line
    assert "bends too little" in line.reason
    assert line.height == pytest.approx(0)
    assert "collapsed" in reason([(1.0, 0.0, 0.001), (0.5, 0.1, 0.003), (0.1, 0.2, 0.0)])
    assert "fewer than 3" in reason([(1.0, 0.0, 0.0), (0.5, 1.0, 1.0)] * 4)
    assert "collapsed" in reason([(1.0, 2.0, 0.1), (0.5, 2.0, 0.5), (0.1, 2.0, 0.3)])
    assert "fewer than 3" in reason([])


def test_the_threshold_of_a_clear_knee_can_be_set():
    height = knee(CORNER).height
    assert knee(CORNER, min_height=height - 0.01)
    assert not knee(CORNER, min_height=height + 0.01)


def test_the_knee_of_an_exact_curve():
    target = BinarySymmetric(0.1)
    solution = information_bottleneck(target.joint, [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05])
    # The exact curve of this channel bends by less than a tenth of its range.
    assert 0 < knee(solution.points()).height < 0.1


def test_the_mean_curve_decides_and_seeds_that_agree_leave_no_doubt():
    target = SaturatingCurve()
    curves = [target.points(noise=0.002, seed=seed) for seed in range(5)]
    found = knee_over_seeds(curves)
    mean = clear(np.mean(curves, 0).tolist())
    assert found.mean == mean
    assert mean.point.rate == pytest.approx(target.knee_rate, abs=0.5)
    assert found.by_seed == tuple(knee(curve) for curve in curves)
    assert found.clear_share == 1
    assert found.interval is not None
    assert found.interval[0] <= mean.point.beta <= found.interval[1]
    assert set(found.interval) <= {beta for beta, _, _ in curves[0]}
    assert knee_over_seeds([curves[0]] * 3).interval == (clear(curves[0]).point.beta,) * 2


def test_seeds_that_disagree_widen_the_interval():
    early = [(1.0, 0.0, 0.0), (0.5, 1.0, 0.9), (0.1, 4.0, 0.95), (0.01, 8.0, 1.0)]
    late = [(1.0, 0.0, 0.0), (0.5, 1.0, 0.1), (0.1, 4.0, 0.95), (0.01, 8.0, 1.0)]
    found = knee_over_seeds([early, late])
    assert found.by_seed == (clear(early), clear(late))
    assert (clear(early).point.beta, clear(late).point.beta) == (0.5, 0.1)
    assert found.interval == (0.1, 0.5)


def test_curves_without_a_knee_have_no_interval():
    line = [(1 - i / 10, i / 10, i / 10) for i in range(11)]
    found = knee_over_seeds([line, line])
    assert not found.mean
    assert found.interval is None
    assert found.clear_share == 0


def test_the_bootstrap_repeats_itself():
    curves = [SaturatingCurve().points(noise=0.05, seed=seed) for seed in range(4)]
    assert knee_over_seeds(curves, seed=3) == knee_over_seeds(curves, seed=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: knee([(1, 2)]), "another length"),
        (lambda: knee([(1, 2, 3), (1, float("nan"), 3)]), "point 1 holds NaN"),
        (lambda: concave_envelope([(1, float("inf"), 3)]), "point 0 holds NaN or inf"),
        (lambda: knee([1, 2, 3]), "a list of points"),
        (lambda: knee(CORNER, "0.1"), "min_height must be a number"),
        (lambda: knee_over_seeds([CORNER], resamples=0), "resamples must be at least 1"),
        (lambda: knee_over_seeds([]), "at least one curve"),
        (lambda: knee_over_seeds([CORNER, CORNER[::-1]]), "curve 1 has the betas"),
    ],
)
def test_what_is_no_curve_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_the_rule_of_one_error_takes_the_least_rate_within_the_error_of_the_best():
    def curve(shift):
        return [
            (1, 0.0, 0.0),
            (0.3, 1.0, 0.8),
            (0.1, 2.0, 0.97 + shift),
            (0.01, 5.0, 1 + 2 * shift),
        ]

    # The best has a standard error of 0.04 over these three seeds, below the next by 0.03.
    errors = [curve(shift) for shift in (-0.0346, 0.0, 0.0346)]
    assert one_error_rule(errors).beta == 0.1
    assert one_error_rule([curve(0.0)]).beta == 0.01
    assert one_error_rule([row[::-1] for row in errors]) == one_error_rule(errors)
    with pytest.raises(InputError, match="at least one curve"):
        one_error_rule([])
