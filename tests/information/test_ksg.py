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
    estimate = ksg(x, z[:, :1], k, variant, scaling="none")
    assert estimate.nats == pytest.approx(
        slow_ksg(x.tolist(), z[:, :1].tolist(), k, variant), abs=1e-12
    )


@pytest.mark.parametrize(("classes", "k"), [(2, 1), (3, 3), (5, 8)])
def test_the_relevance_equals_the_slow_twin(classes, k):
    y = torch.arange(150) % classes
    z = torch.randn(150, 2, dtype=torch.float64, generator=generator(0)) + 0.5 * y[:, None]
    estimate = ksg_relevance(z, y, k, scaling="none")
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
    plain, shaken = ksg(x, z, variant=1), ksg(x, z, jitter=1e-3)
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


@pytest.mark.parametrize("variant", [None, 1, 2, "mixture"])
def test_a_constant_shares_nothing_and_is_named(variant):
    x = CorrelatedGaussians().sample(200)[0]
    for z in (torch.zeros_like(x), torch.full((200, 2), 0.1)):
        for pair, name in (((x, z), "z"), ((z, x), "x"), ((z, z), "x and z")):
            found = ksg(*pair, variant=variant)
            assert (found.nats, found.std_error, found.ceiling) == (0, 0, 0)
            assert found.diagnostics["warning"].startswith(f"{name} is constant")
    found = ksg_relevance(torch.full((200, 2), 0.1), torch.arange(200) % 3)
    assert (found.nats, found.std_error) == (0, 0)
    assert "z is constant" in found.diagnostics["warning"]


def uniform(n, seed=0):
    """X uniform, Z = X / 2 + B / 2 with B uniform: half a nat."""
    a, b = torch.rand(2, n, 1, dtype=torch.float64, generator=generator(seed))
    return a, 0.5 * a + 0.5 * b, 0.5


def tailed(n, seed=0):
    """Both sides of a Gaussian pair cubed: tails without a fourth moment's comfort."""
    target = CorrelatedGaussians(0.8)
    x, z = target.sample(n, seed)
    return x**3, z**3, target.information


def plane(n, seed=0):
    """Two Gaussian pairs."""
    target = CorrelatedGaussians(0.8, d=2)
    return *target.sample(n, seed), target.information


@pytest.mark.parametrize("sample", [uniform, tailed, plane])
@pytest.mark.parametrize("factor", [1e-200, 1e-9, 0.03, 10.0, 1e9, 1e100])
def test_no_units_change_the_estimate(sample, factor):
    x, z, truth = sample(1000)
    plain = ksg(x, z)
    assert plain.nats == pytest.approx(truth, abs=0.1)
    y = (z[:, 0] > 0).long() + (z[:, 0] > 0.6).long()
    for moved in ((factor * x, z), (x, factor * z), (factor * x, 0.1 * z), (x + 3, 7 - z)):
        assert ksg(*moved).nats == pytest.approx(plain.nats, abs=1e-6)
    assert ksg_relevance(factor * x, y).nats == pytest.approx(ksg_relevance(x, y).nats, abs=1e-6)
    units = torch.tensor([factor, 3.0][: x.shape[1]], dtype=torch.float64)
    assert ksg(units * x, z).nats == pytest.approx(plain.nats, abs=1e-6)
    assert ksg_relevance(units * x, y).nats == pytest.approx(ksg_relevance(x, y).nats, abs=1e-6)


def test_the_units_can_be_left_as_they_are():
    x, z, _ = uniform(1000)
    assert ksg(10 * x, z, scaling="none").nats < ksg(x, z).nats - 0.05
    assert ksg(x, z, scaling="none").diagnostics["scaling"] == "none"
    with pytest.raises(InputError, match="'columns', 'vectors', 'ranks', 'none', got 'mad'"):
        ksg(x, z, scaling="mad")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("factor", [1e-200, 1e-9, 10.0, 1e100])
def test_one_unit_for_a_vector_keeps_the_sizes_of_its_columns(factor):
    x, z, _ = plane(500)
    small, flat = 0.01 * torch.randn_like(x), torch.full_like(x, 7.0)
    wide = torch.cat([x, small, flat], 1)
    plain = ksg(x, z, scaling="vectors").nats
    for scaling in ("vectors", "columns"):
        expected = ksg(wide, z, scaling=scaling).nats
        assert ksg(factor * wide, z, scaling=scaling).nats == pytest.approx(expected, abs=1e-6)
    assert ksg(wide, z, scaling="vectors").nats == pytest.approx(plain, abs=0.02)
    assert ksg(wide, z).nats < plain - 0.1


@pytest.mark.parametrize("factor", [1e-9, 1.0, 1e9])
def test_what_the_classes_are_apart_by_is_no_unit_of_a_code(factor):
    y = torch.randint(10, (1000,), generator=generator(0))
    z = torch.rand(1000, 3, dtype=torch.float64, generator=generator(1))
    z[:, 0] += 0.9 * y
    # Neighbours share a tenth of their cubes, where two labels are as likely.
    truth = math.log(10) - 0.1 * 2 * 0.9 * math.log(2)
    z *= torch.tensor([factor, 1.0, 30.0], dtype=torch.float64)
    assert ksg_relevance(z, y).nats == pytest.approx(truth, rel=0.06)
    certain = torch.cat([factor * y[:, None], torch.randn(1000, 3, generator=generator(2))], 1)
    assert ksg_relevance(certain, y).nats == pytest.approx(entropy(*[0.1] * 10), abs=0.02)


def test_ranks_know_no_increasing_map():
    target = CorrelatedGaussians(0.8)
    x, z = target.sample(1000)
    plain = ksg(x, z, scaling="ranks")
    assert plain.nats == pytest.approx(target.information, abs=0.06)
    assert ksg((4 * x).exp(), z**3, scaling="ranks").nats == pytest.approx(plain.nats)
    assert ksg((4 * x).exp(), z).nats < target.information - 0.1
    y = (z[:, 0] > 0).long()
    found = ksg_relevance((4 * x).exp(), y, scaling="ranks").nats
    assert found == pytest.approx(ksg_relevance(x, y, scaling="ranks").nats)


def slow_mixture(x, z, k):
    """Gao's algorithm 1 with psi, one sample at a time; neighbours are nearer than the k-th."""
    n, total = len(x), 0.0
    for i in range(n):
        in_x, in_z = ([apart(part[i], part[j]) for j in range(n)] for part in (x, z))
        both = [max(pair) for pair in zip(in_x, in_z, strict=True)]
        radius = sorted(both)[k]
        counts = [
            sum(d < radius or d == 0 == radius for d in distances)
            for distances in (both, in_x, in_z)
        ]
        total += psi(n) + psi(counts[0]) - psi(counts[1]) - psi(counts[2])
    return total / n


@pytest.mark.parametrize("k", [1, 3])
def test_the_mixture_equals_the_slow_twin(k):
    x, z = CorrelatedGaussians(0.7, 2).sample(120)
    # Quarters have no rounding, so that equal distances are equal.
    mixed = torch.cat([x[:, :1].mul(4).round() / 4, x[:, 1:].clamp_min(0)], 1), z.mul(2).round() / 2
    found = ksg(*mixed, k, scaling="none")
    assert found.diagnostics["variant"] == "mixture"
    assert found.nats == pytest.approx(slow_mixture(*(part.tolist() for part in mixed), k))


def test_the_mixture_is_the_estimate_of_a_density_where_there_is_one():
    x, z = CorrelatedGaussians(0.7, 2).sample(300)
    y = (x[:, 0] > 0).long()
    assert ksg(x, z).diagnostics["variant"] == 1
    assert ksg(x, z, variant="mixture").nats == pytest.approx(ksg(x, z).nats, abs=1e-12)
    assert ksg_relevance(z, y).diagnostics["variant"] == "ross"
    mixed = ksg_relevance(z, y, variant="mixture").nats
    assert mixed == pytest.approx(ksg_relevance(z, y).nats, abs=1e-12)


def entropy(*p):
    return -sum(q * math.log(q) for q in p if q > 0)


def bits(n, seed, units=1):
    """Fair bits that are flipped one in ten times, beside a constant."""
    a = (torch.rand(n, units, generator=generator(seed)) < 0.5).double()
    flipped = (torch.rand(n, units, generator=generator(seed + 99)) < 0.1).double()
    return torch.cat([a, torch.ones(n, 1)], 1), (a - flipped).abs()


def overlapping(n, seed):
    """X one of five numbers, Z uniform over the two units from it on."""
    x = torch.randint(5, (n, 1), generator=generator(seed)).double()
    return x, x + 2 * torch.rand(n, 1, generator=generator(seed + 99)).double()


def inflated(n, seed):
    """X exponential, Z Poisson of that mean, or 0 with probability 0.15."""
    draw = generator(seed)
    x = -torch.rand(n, 1, dtype=torch.float64, generator=draw).log()
    z = torch.poisson(x, generator=draw)
    return x, z * (torch.rand(n, 1, generator=draw) >= 0.15)


def censored(n, seed):
    """A Gaussian pair, Z behind a ReLU."""
    x, z = CorrelatedGaussians(0.8).sample(n, seed)
    return x, z.clamp_min(0)


def censored_information(rho=0.8):
    """E log p(z|x) / p(z) of the atom at 0 and of the density above, by quadrature."""
    x = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    z, noise = torch.linspace(0, 8, 1601, dtype=torch.float64), math.sqrt(1 - rho**2)
    normal = torch.distributions.Normal(0.0, 1.0)
    p_x = normal.log_prob(x).exp()
    atom = normal.cdf(-rho * x / noise)
    log_p = normal.log_prob((z - rho * x[:, None]) / noise) - math.log(noise)
    above = torch.trapezoid(log_p.exp() * (log_p - normal.log_prob(z)), z)
    return torch.trapezoid(p_x * (torch.special.xlogy(atom, 2 * atom) + above), x).item()


# Of Poisson counts: Gao et al. (2017), section 5.
POISSON = 2 * math.log(2) - 0.5772156649015329 - sum(math.log(k) * 2**-k for k in range(1, 60))
ATOMS = [
    (bits, math.log(2) - entropy(0.1, 0.9)),
    (lambda n, seed: bits(n, seed, 3), 3 * (math.log(2) - entropy(0.1, 0.9))),
    (lambda n, seed: (bits(n, seed)[0],) * 2, math.log(2)),
    (overlapping, math.log(5) - 0.8 * math.log(2)),
    (inflated, 0.85 * POISSON),
    (censored, censored_information()),
    (lambda n, seed: (bits(n, seed)[0], bits(n, seed + 7)[1]), 0.0),
]


@pytest.mark.parametrize(("sample", "truth"), ATOMS)
@pytest.mark.parametrize("units", [1.0, 0.1])
def test_atoms_and_mixtures_are_measured(sample, truth, units):
    found = [ksg(units * x, z) for x, z in (sample(1000, seed) for seed in range(5))]
    error = sum(estimate.std_error for estimate in found) / 5
    assert sum(estimate.nats for estimate in found) / 5 == pytest.approx(truth, abs=0.035)
    assert {estimate.diagnostics["variant"] for estimate in found} == {"mixture"}
    assert all(estimate.diagnostics["warning"] is None for estimate in found)
    assert 0 <= error < 0.07


def test_what_was_rounded_alone_shares_nothing():
    for step in (0.01, 0.1, 0.5):
        x, z = torch.randn(2, 500, 1, dtype=torch.float64, generator=generator(0))
        found = ksg(x, (z / step).round() * step)
        assert abs(found.nats) < 3 * found.std_error
        assert found.diagnostics["variant"] == "mixture"


def test_too_few_samples_of_many_values_are_warned_of():
    for units, n, warned in ((2, 200, False), (6, 200, True), (8, 1000, True)):
        found = ksg(*bits(n, 0, units))
        assert (found.diagnostics["alone"] > 0.08) == warned
        assert ("values that no other sample has" in (found.diagnostics["warning"] or "")) == warned


def rectified(n, seed, units):
    """Labels of two classes, and ReLU units, the first of which is moved by the label."""
    y = torch.arange(n) % 2
    z = torch.randn(n, units, dtype=torch.float64, generator=generator(seed))
    z[:, 0] += 0.7 * (2 * y - 1)
    return z.clamp_min(0), y


def rectified_information():
    z = torch.linspace(0, 10, 4001, dtype=torch.float64)
    logs = [torch.distributions.Normal(mean, 1.0).log_prob(z) for mean in (0.7, -0.7)]
    log_mean = torch.logaddexp(*logs) - math.log(2)
    above = sum(0.5 * torch.trapezoid(p.exp() * (p - log_mean), z).item() for p in logs)
    atoms = torch.special.ndtr(torch.tensor([-0.7, 0.7], dtype=torch.float64))
    return above + (0.5 * atoms * (atoms / atoms.mean()).log()).sum().item()


@pytest.mark.parametrize("units", [1, 3])
def test_a_rectified_code_is_measured_against_its_labels(units):
    found = [ksg_relevance(*rectified(1000, seed, units)) for seed in range(5)]
    mean = sum(estimate.nats for estimate in found) / 5
    assert mean == pytest.approx(rectified_information(), abs=0.03)
    assert found[0].diagnostics["variant"] == "mixture"
    assert found[0].diagnostics["warning"] is None
    plain = ksg_relevance(*rectified(1000, 0, units), variant="ross")
    assert plain.nats < 0
    assert "take the variant 'mixture'" in plain.diagnostics["warning"]


def test_binary_units_are_measured_against_their_labels():
    values = []
    for seed in range(5):
        code, noisy = bits(1000, seed, 3)
        values.append(ksg_relevance(code, noisy[:, 0].long()).nats)
    assert sum(values) / 5 == pytest.approx(math.log(2) - entropy(0.1, 0.9), abs=0.03)


def test_equal_values_that_differ_by_rounding_are_one_atom():
    step = torch.randint(1, 5, (300,), generator=generator(0))
    exact = step.double()[:, None]
    summed = torch.full((4,), 0.1, dtype=torch.float64).cumsum(0)[step - 1]
    mixed = torch.where(torch.arange(300) % 2 == 0, summed, step / 10)[:, None]
    assert len(mixed.unique()) > 4
    found = ksg(mixed, exact)
    assert found.diagnostics["variant"] == "mixture"
    assert found.nats == pytest.approx(ksg(exact, exact).nats)


def test_the_error_of_atoms_is_the_spread_over_fresh_samples():
    found = [ksg(*bits(400, 1000 + seed)) for seed in range(40)]
    spread = torch.tensor([estimate.nats for estimate in found]).std().item()
    claimed = sum(estimate.std_error for estimate in found) / 40
    assert claimed == pytest.approx(spread, rel=0.35)


@pytest.mark.parametrize("k", [2.5, "3", True, None])
def test_a_number_of_neighbours_is_whole(k):
    x, z = CorrelatedGaussians().sample(20)
    for call in (lambda: ksg(x, z, k), lambda: ksg_relevance(x, torch.arange(20) % 2, k)):
        with pytest.raises(InputError, match="k must be a whole number"):
            call()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"k": 20}, "k must be below the number of samples 20, got 20"),
        ({"jitter": -1.0}, "jitter must be finite and at least 0"),
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
    with pytest.raises(InputError, match="variant must be 1, 2, 'mixture' or None, got 3"):
        ksg(x, z, variant=3)
    with pytest.raises(InputError, match=r"label 7 has 1 samples; .* at least 4"):
        ksg_relevance(x, torch.tensor([0] * 19 + [7]))
