import math

import pytest
import torch

from narrows.errors import InputError
from narrows.information import ksg, ksg_relevance
from narrows.information._counts import count_within
from narrows.information._neighbours import nearest, nearest_in_blocks
from scenarios import CorrelatedGaussians, TwoGaussians, generator


def psi(n):
    """Digamma of a whole number."""
    return sum(1 / i for i in range(1, n)) - 0.5772156649015329


def apart(a, b):
    return max(abs(p - q) for p, q in zip(a, b, strict=True))


def slow_ksg(x, z, k, variant):
    """Both algorithms as the paper words them, one sample at a time."""
    n, total = len(x), 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        others.sort(key=lambda j: max(apart(x[i], x[j]), apart(z[i], z[j])))
        nearest_k = others[:k]
        in_x = [apart(x[i], x[j]) for j in others]
        in_z = [apart(z[i], z[j]) for j in others]
        if variant == 1:
            radius = max(apart(x[i], x[nearest_k[-1]]), apart(z[i], z[nearest_k[-1]]))
            n_x, n_z = (sum(d < radius for d in all_) for all_ in (in_x, in_z))
            total += psi(k) - psi(n_x + 1) - psi(n_z + 1) + psi(n)
        else:
            n_x, n_z = (sum(d <= max(all_[:k]) for d in all_) for all_ in (in_x, in_z))
            total += psi(k) - 1 / k - psi(n_x) - psi(n_z) + psi(n)
    return total / n


def slow_ross(z, y, k):
    n, total = len(z), 0.0
    for i in range(n):
        same = sorted(apart(z[i], z[j]) for j in range(n) if j != i and y[j] == y[i])
        m = sum(apart(z[i], z[j]) <= same[k - 1] for j in range(n) if j != i)
        total += psi(n) - psi(len(same) + 1) + psi(k) - psi(m)
    return total / n


@pytest.mark.parametrize("variant", [1, 2])
@pytest.mark.parametrize(("d", "k"), [(1, 1), (1, 3), (2, 3), (4, 10)])
def test_it_equals_the_slow_twin(variant, d, k):
    x, z = CorrelatedGaussians(0.7, d).sample(150)
    estimate = ksg(x, z[:, :1], k, variant)
    assert estimate.nats == pytest.approx(
        slow_ksg(x.tolist(), z[:, :1].tolist(), k, variant), abs=1e-12
    )


@pytest.mark.parametrize(("classes", "k"), [(2, 1), (3, 3), (5, 8)])
def test_the_relevance_equals_the_slow_twin(classes, k):
    y = torch.arange(150) % classes
    z = torch.randn(150, 2, dtype=torch.float64, generator=generator(0)) + 0.5 * y[:, None]
    estimate = ksg_relevance(z, y, k)
    assert estimate.nats == pytest.approx(slow_ross(z.tolist(), y.tolist(), k), abs=1e-12)


@pytest.mark.parametrize("find", [nearest, nearest_in_blocks])
@pytest.mark.parametrize("d", [1, 2, 3, 14])
@pytest.mark.parametrize("rounded", [False, True])
def test_neighbours_and_counts_are_those_of_all_distances(find, d, rounded):
    points = torch.randn(1100, d, dtype=torch.float64, generator=generator(d)).exp()
    points = points.round(decimals=1) if rounded else points
    every = (points[:, None] - points).abs().amax(2).fill_diagonal_(math.inf)
    distances, rows = find(points, 5)
    assert torch.equal(distances, every.sort(1).values[:, :5])
    assert torch.equal(every.gather(1, rows), distances)
    radius = (
        distances[:, -1] * torch.rand(1100, dtype=torch.float64, generator=generator(1)).round()
    )
    for strict, inside in ((True, every < radius[:, None]), (False, every <= radius[:, None])):
        assert torch.equal(count_within(points, radius, strict=strict), inside.sum(1))


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-9, 1e140])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e8])
def test_single_precision_decides_nothing_that_it_cannot(scale, offset):
    points = torch.randn(200, 2, dtype=torch.float64, generator=generator(0)) + offset
    points[:100] = points[0] + 1e-9 * (points[:100] - offset)
    points *= scale
    every = (points[:, None] - points).abs().amax(2).fill_diagonal_(math.inf)
    distances, rows = nearest_in_blocks(points, 3)
    assert torch.equal(distances, every.sort(1).values[:, :3])
    assert torch.equal(every.gather(1, rows), distances)
    for strict, inside in ((True, torch.lt), (False, torch.le)):
        counts = count_within(points, distances[:, -1], strict=strict)
        assert torch.equal(counts, inside(every, distances[:, -1:]).sum(1))


@pytest.mark.parametrize("variant", [1, 2])
@pytest.mark.parametrize("target", [CorrelatedGaussians(0.9), CorrelatedGaussians(0.6, d=2)])
def test_low_dimensions_are_within_a_twentieth_of_the_truth(variant, target):
    estimate = ksg(*target.sample(4000), variant=variant)
    assert estimate.nats == pytest.approx(target.information, rel=0.05)
    assert estimate.diagnostics["warning"] is None


def test_independent_samples_give_about_nothing_and_are_not_clipped():
    values = [ksg(*CorrelatedGaussians(0.0).sample(200, seed)).nats for seed in range(40)]
    assert min(values) < 0
    assert abs(sum(values) / 40) < 0.02


def test_many_dimensions_are_far_off_and_say_so():
    target = CorrelatedGaussians(math.sqrt(1 - math.exp(-0.28)), d=10)
    assert target.information == pytest.approx(1.4)
    estimate = ksg(*target.sample(1000))
    assert estimate.nats < 0.6 * target.information
    assert "too many dimensions" in estimate.diagnostics["warning"]
    z, y = TwoGaussians(0.5).sample(1000)[1:]
    noise = torch.randn(1000, 19, dtype=torch.float64, generator=generator(9))
    estimate = ksg_relevance(torch.cat([z, noise], 1), y)
    assert "too many dimensions" in estimate.diagnostics["warning"]


@pytest.mark.parametrize("variant", [1, 2])
def test_a_line_is_at_the_ceiling_and_is_warned_of(variant):
    x = torch.randn(500, 1, dtype=torch.float64, generator=generator(0))
    estimate = ksg(x, x, variant=variant)
    assert estimate.nats == pytest.approx(estimate.ceiling)
    assert "too much information" in estimate.diagnostics["warning"]


def test_the_standard_error_is_the_spread_over_fresh_samples():
    target = CorrelatedGaussians(0.8)
    estimates = [ksg(*target.sample(400, seed)) for seed in range(60)]
    spread = torch.tensor([estimate.nats for estimate in estimates]).std().item()
    claimed = sum(estimate.std_error for estimate in estimates) / 60
    assert claimed == pytest.approx(spread, rel=0.35)
    assert math.isnan(ksg(*target.sample(20)).std_error)


def test_duplicates_are_named_and_jitter_is_added_only_if_asked():
    x, z = CorrelatedGaussians(0.5).sample(500)
    x, z = x.round(decimals=0), z.round(decimals=0)
    plain, shaken = ksg(x, z), ksg(x, z, jitter=1e-3)
    assert plain.diagnostics["duplicates"] > 0.5
    assert "no density" in plain.diagnostics["warning"]
    assert plain.nats <= plain.ceiling
    assert shaken.diagnostics["duplicates"] == 0
    assert shaken.diagnostics["jitter"] == 1e-3
    assert shaken == ksg(x, z, jitter=1e-3)
    assert shaken.nats != ksg(x, z, jitter=1e-3, seed=1).nats
    labels = ksg_relevance(x, (z[:, 0] > 0).long())
    assert labels.diagnostics["duplicates"] > 0.5
    assert labels.nats <= labels.ceiling


def test_a_constant_column_carries_nothing():
    x = CorrelatedGaussians().sample(200)[0]
    assert ksg(x, torch.zeros_like(x)).nats == pytest.approx(0, abs=1e-12)


def test_one_monotone_map_of_both_leaves_the_order_and_hence_the_counts_alone():
    x, z = CorrelatedGaussians(0.9).sample(300)
    assert ksg(8 * x - 1, 8 * z + 3).nats == pytest.approx(ksg(x, z).nats, abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must be at least 1 and below the number of samples 20, got 0"),
        ({"k": 20}, "got 20"),
        ({"jitter": -1.0}, "jitter must be finite and not negative"),
        ({"jitter": math.nan}, "jitter must be finite"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    x, z = CorrelatedGaussians().sample(20)
    with pytest.raises(InputError, match=message):
        ksg(x, z, **settings)
    with pytest.raises(InputError, match=message):
        ksg_relevance(x, torch.arange(20) % 2, **settings)


def test_an_unknown_variant_and_a_rare_label_are_refused():
    x, z = CorrelatedGaussians().sample(20)
    with pytest.raises(InputError, match="variant must be 1 or 2, got 3"):
        ksg(x, z, variant=3)
    with pytest.raises(InputError, match=r"label 7 has 1 samples; .* at least 4"):
        ksg_relevance(x, torch.tensor([0] * 19 + [7]))
