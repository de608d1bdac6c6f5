import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.data import twelve_bit
from narrows.errors import InputError
from narrows.information import information_bottleneck
from narrows.information._certificate import divergences, highest
from narrows.information._joint import Source, coarsen
from scenarios import BinarySymmetric, NoiselessLabels, generator


def random_joint(x=6, y=2, seed=0):
    joint = torch.rand(x, y, dtype=torch.float64, generator=generator(seed)) ** 4
    return joint / joint.sum()


def slow_information(joint):
    """I(A;B) of a nested list of probabilities, by its definition."""
    rows = [sum(row) for row in joint]
    columns = [sum(column) for column in zip(*joint, strict=True)]
    return sum(
        p * math.log(p / (rows[i] * columns[j]))
        for i, row in enumerate(joint)
        for j, p in enumerate(row)
        if p > 0
    )


def slow_point(joint, encoder):
    """Rate and relevance of an encoder, by their definitions."""
    x, y, z = len(joint), len(joint[0]), len(encoder[0])
    rate = slow_information([[sum(joint[i]) * p for p in encoder[i]] for i in range(x)])
    joint_zy = [
        [sum(encoder[i][c] * joint[i][j] for i in range(x)) for j in range(y)] for c in range(z)
    ]
    return rate, slow_information(joint_zy)


def slow_bottleneck(joint, beta, encoder, iterations):
    """Blahut-Arimoto as it is written, one number at a time."""
    x, y, z = len(joint), len(joint[0]), len(encoder[0])
    p_x = [sum(row) for row in joint]
    p_y = [[p / p_x[i] for p in joint[i]] for i in range(x)]
    for _ in range(iterations):
        p_z = [sum(p_x[i] * encoder[i][c] for i in range(x)) for c in range(z)]
        q = [
            [sum(joint[i][j] * encoder[i][c] for i in range(x)) / p_z[c] for j in range(y)]
            for c in range(z)
        ]
        for i in range(x):
            d = [sum(p * math.log(p / q[c][j]) for j, p in enumerate(p_y[i])) for c in range(z)]
            weight = [p_z[c] * math.exp(-d[c] / beta) for c in range(z)]
            encoder[i] = [value / sum(weight) for value in weight]
    return encoder


@pytest.mark.parametrize("flip", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("q", [0.01, 0.1, 0.25, 0.4])
def test_the_symmetric_channel_follows_its_closed_form(flip, q):
    target = BinarySymmetric(flip)
    solution = information_bottleneck(target.joint, [target.beta(q)])
    assert solution.rate.item() == pytest.approx(target.rate(q), abs=1e-11)
    assert solution.relevance.item() == pytest.approx(target.relevance(q), abs=1e-11)
    assert 0 <= solution.gap.item() < 1e-9
    assert solution.certified
    assert solution.converged.all()


@pytest.mark.parametrize("flip", [0.02, 0.1, 0.3, 0.49])
@pytest.mark.parametrize("factor", [1.001, 1.01, 1.1, 2, 8])
def test_the_symmetric_channel_is_solved_to_a_ten_billionth_of_a_bit_at_any_distance(flip, factor):
    target = BinarySymmetric(flip)
    beta = target.critical_beta / factor
    low, high = 1e-12, 0.5 - 1e-9
    for _ in range(100):
        q = (low + high) / 2
        low, high = (q, high) if target.beta(q) < beta else (low, q)
    solution = information_bottleneck(target.joint, [beta])
    assert solution.rate.item() == pytest.approx(target.rate(q), abs=1e-10 * math.log(2))
    assert solution.relevance.item() == pytest.approx(target.relevance(q), abs=1e-10 * math.log(2))
    assert 0 <= solution.gap.item() < 1e-9


@pytest.mark.parametrize("flip", [0.02, 0.1, 0.3])
def test_the_symmetric_channel_begins_to_pass_something_at_its_critical_beta(flip):
    target = BinarySymmetric(flip)
    betas = [target.critical_beta * factor for factor in (1.02, 0.98)]
    solution = information_bottleneck(target.joint, betas)
    assert solution.rate[0].item() == pytest.approx(0, abs=1e-12)
    assert solution.relevance[0].item() == pytest.approx(0, abs=1e-12)
    assert solution.rate[1].item() > 1e-3
    assert solution.gap.max() < 1e-7


@pytest.mark.parametrize("beta", [0.05, 0.5, 0.9])
def test_noiseless_labels_have_their_corner_as_optimum(beta):
    target = NoiselessLabels()
    solution = information_bottleneck(target.joint, [beta, 1.1])
    assert solution.rate.tolist() == pytest.approx([math.log(4), 0], abs=1e-7)
    assert solution.relevance.tolist() == pytest.approx([math.log(4), 0], abs=1e-7)
    assert solution.information == pytest.approx(math.log(4))
    assert not solution.certified


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("beta", [0.1, 0.3, 0.6])
def test_the_slow_twin_leaves_the_solution_alone_and_finds_nothing_better(beta, classes):
    joint = random_joint(y=classes)
    solution = information_bottleneck(joint, [beta], clusters=6)
    objective = beta * solution.rate.item() - solution.relevance.item()
    used = solution.encoder[0][:, solution.encoder[0].sum(0) > 0]
    again = slow_bottleneck(joint.tolist(), beta, used.tolist(), 3)
    assert torch.allclose(torch.tensor(again).double(), used, atol=1e-7)
    for seed in range(3):
        start = torch.rand(6, 6, dtype=torch.float64, generator=generator(seed))
        start = (start / start.sum(1, keepdim=True)).tolist()
        encoder = slow_bottleneck(joint.tolist(), beta, start, 300)
        rate, relevance = slow_point(joint.tolist(), encoder)
        assert objective <= beta * rate - relevance + 1e-7


def test_what_is_returned_belongs_together():
    joint = random_joint(x=8, y=3)
    solution = information_bottleneck(joint, [0.2, 0.4], clusters=5)
    assert solution.encoder.shape == (2, 8, 5)
    assert solution.decoder.shape == (2, 5, 3)
    for b, point in enumerate(solution.points()):
        rate, relevance = slow_point(joint.tolist(), solution.encoder[b].tolist())
        assert point == pytest.approx((solution.betas[b].item(), rate, relevance))
        p_zy = solution.encoder[b].T @ joint
        assert torch.allclose(p_zy, p_zy.sum(1, keepdim=True) * solution.decoder[b])


def test_no_random_encoder_is_below_the_certified_floor():
    joint = random_joint(x=5)
    betas = [0.1, 0.3, 0.6]
    solution = information_bottleneck(joint, betas)
    best = solution.betas * solution.rate - solution.relevance
    draw = generator(1)
    for _ in range(300):
        sharpness = 10 * torch.rand(1, dtype=torch.float64, generator=draw)
        noise = torch.randn(5, 4, dtype=torch.float64, generator=draw)
        rate, relevance = slow_point(joint.tolist(), (sharpness * noise).softmax(1).tolist())
        for beta, value, gap in zip(betas, best.tolist(), solution.gap.tolist(), strict=True):
            assert beta * rate - relevance >= value - gap


def test_too_few_clusters_show_as_a_gap_and_more_clusters_close_it():
    joint = twelve_bit.joint(0.1)
    few = information_bottleneck(joint, [0.005], clusters=3)
    many = information_bottleneck(joint, [0.005], clusters=20)
    objective = [(s.betas * s.rate - s.relevance).item() for s in (few, many)]
    assert few.gap.item() > 1e-3
    assert many.gap.item() < 1e-9
    assert objective[1] < objective[0] <= objective[1] + few.gap.item()


def test_fifty_betas_of_the_twelve_bits_are_solved_within_a_billionth_of_a_nat():
    betas = torch.logspace(-3.5, -0.01, 50, dtype=torch.float64)
    solution = information_bottleneck(twelve_bit.joint(0.99), betas)
    assert solution.certified
    assert solution.converged.all()
    assert solution.gap.max() <= 1e-9


@pytest.mark.parametrize("beta", [0.0037, 0.0175, 0.5576])
def test_hard_betas_of_blurred_twelve_bits_are_solved_once_there_are_enough_clusters(beta):
    solution = information_bottleneck(twelve_bit.joint(0.5), [beta], clusters=40)
    assert solution.gap.item() <= 1e-9
    assert solution.iterations.item() < 1000


@pytest.mark.parametrize("information_bits", [0.99, 0.5])
def test_the_twelve_bits_are_solved_within_a_billionth_of_a_nat(information_bits):
    betas = [0.95, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03]
    solution = information_bottleneck(twelve_bit.joint(information_bits), betas)
    assert solution.certified
    assert solution.gap.min() >= -1e-12
    assert solution.gap.max() <= 1e-9
    assert solution.information == pytest.approx(information_bits * math.log(2))
    assert solution.encoder.shape[:2] == (8, 4096)
    assert solution.encoder.shape[2] == solution.support.max()
    # Less compression, more of either; never more relevance than rate or than I(X;Y).
    assert (solution.rate.diff() >= -1e-9).all()
    assert (solution.relevance.diff() >= -1e-9).all()
    assert (solution.relevance <= solution.rate + 1e-9).all()
    assert (solution.relevance <= solution.information).all()


def test_weak_compression_passes_all_there_is():
    joint = random_joint()
    solution = information_bottleneck(joint, [1e-6])
    assert solution.relevance.item() == pytest.approx(solution.information, abs=1e-5)


def test_merging_equal_rows_changes_nothing():
    joint = random_joint()
    share = torch.tensor([0.3, 0.7], dtype=torch.float64)
    split = (share[:, None, None] * joint).flatten(0, 1)
    whole, parts = (information_bottleneck(j, [0.2, 0.5]) for j in (joint, split))
    assert torch.allclose(whole.rate, parts.rate, atol=1e-7)
    assert torch.allclose(whole.relevance, parts.relevance, atol=1e-7)
    assert torch.equal(parts.encoder[:, :6], parts.encoder[:, 6:])


def test_a_label_that_x_says_nothing_of_gives_nothing():
    joint = torch.outer(torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.4, 0.6]))
    solution = information_bottleneck(joint, [0.5])
    assert solution.rate.item() == pytest.approx(0, abs=1e-9)
    assert solution.relevance.item() == pytest.approx(0, abs=1e-9)


def code(p_x, p_y, log_weight, t):
    """Arguments of `highest` for one code: c(q) = sum_x exp(log_weight - t d(x, q))."""
    t = torch.tensor([t], dtype=torch.float64)
    return Source(p_x, p_y), (p_x.log() - log_weight)[None], t, p_y[None]


def test_the_highest_decoder_is_enclosed_where_a_fine_grid_finds_it():
    joint = random_joint(x=9, seed=4)
    p_x = joint.sum(1)
    p_y = joint / p_x[:, None]
    log_weight = p_x.log() + torch.randn(9, dtype=torch.float64, generator=generator(1))
    for t in (1.0, 30.0, 1000.0):
        grid = torch.linspace(0, 1, 200_001, dtype=torch.float64)
        every = torch.stack([1 - grid, grid], 1)
        height = (log_weight[:, None] - t * divergences(p_y, every)).logsumexp(0)
        (q,), (value,), bound, certified = highest(*code(p_x, p_y, log_weight, t), slack=1e-9)
        q, value = q[0], value[0]
        assert certified
        assert height.max().item() <= bound.item() <= value.item() + 1e-9 * t
        assert value.item() == pytest.approx(height.max().item(), abs=1e-4)
        assert q[1].item() == pytest.approx(grid[height.argmax()].item(), abs=1e-4)


def test_the_search_over_three_classes_reaches_the_best_point_of_a_grid():
    joint = random_joint(x=9, y=3, seed=4)
    p_x = joint.sum(1)
    p_y = joint / p_x[:, None]
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, 101, dtype=torch.float64)] * 2)
    grid = grid[grid.sum(1) <= 1]
    grid = torch.cat([grid, 1 - grid.sum(1, keepdim=True)], 1).clamp_min(0)
    for t in (1.0, 10.0, 100.0):
        height = (p_x.log()[:, None] - t * divergences(p_y, grid)).logsumexp(0)
        _, (values,), _, certified = highest(*code(p_x, p_y, p_x.log(), t), slack=1e-9)
        assert not certified
        assert values[0].item() >= height.max().item() - 1e-9


@pytest.mark.parametrize(
    ("joint", "message"),
    [
        (torch.tensor([0.5, 0.5]), r"\[X, Y\]"),
        (torch.zeros(0, 2), r"\[0, 2\]"),
        (torch.tensor([[0.5, 0.5], [0.5, 0.5]]), r"sum to 1, got 2; divide counts"),
        (torch.tensor([[1.5, -0.5]]), "negative numbers"),
        (torch.tensor([[math.nan, 0.5]]), "NaN"),
        ("joint", "nested lists of numbers, got str"),
    ],
)
def test_what_is_no_joint_distribution_is_refused(joint, message):
    with pytest.raises(InputError, match=message):
        information_bottleneck(joint, [0.5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"betas": [0.0]}, r"beta -> 0"),
        ({"betas": [math.nan]}, "finite"),
        ({"betas": []}, "list of numbers"),
        ({"betas": [0.5], "clusters": 0}, "clusters must be at least 1, got 0"),
        ({"betas": [0.5], "clusters": 2.5}, "clusters must be a whole number, got 2.5"),
        ({"betas": [0.5], "tolerance": 0.0}, "tolerance must be finite and larger than 0"),
        ({"betas": [0.5], "tolerance": "1e-9"}, "tolerance must be a number, got '1e-9'"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        information_bottleneck(BinarySymmetric().joint, **settings)


def test_betas_solved_together_are_those_solved_alone():
    joint = random_joint(x=9)
    betas = [0.02, 0.1, 0.4, 0.8]
    together = information_bottleneck(joint, betas)
    for b, beta in enumerate(betas):
        alone = information_bottleneck(joint, [beta])
        assert alone.rate.item() == pytest.approx(together.rate[b].item(), abs=1e-7)
        assert alone.relevance.item() == pytest.approx(together.relevance[b].item(), abs=1e-7)


def test_many_distinct_rows_are_solved_as_well():
    p = torch.linspace(0.01, 0.99, 1500, dtype=torch.float64)
    solution = information_bottleneck(torch.stack([p, 1 - p], 1) / 1500, [0.05, 0.2, 0.6], 20)
    assert solution.gap.max() <= 1e-9
    assert solution.certified
    assert solution.converged.all()


def test_coarser_rows_keep_their_mass_and_three_moments():
    p = torch.rand(500, dtype=torch.float64, generator=generator(0))
    weight = torch.rand(500, dtype=torch.float64, generator=generator(1))
    source = Source(weight / weight.sum(), torch.stack([1 - p, p], 1))
    coarse = coarsen(source, 20)
    assert len(coarse.p_x) <= 40
    for power in range(4):
        moments = [(s.p_x * s.p_y[:, 1] ** power).sum().item() for s in (source, coarse)]
        assert moments[0] == pytest.approx(moments[1], abs=1e-14)


def test_rows_next_to_certainty_are_solved_too():
    p = torch.tensor([0.0, 1e-13, 1e-6, 0.4, 1 - 1e-9, 1.0], dtype=torch.float64)
    joint = torch.stack([1 - p, p], 1) / 6
    solution = information_bottleneck(joint, [0.001, 0.1, 0.7])
    assert solution.gap.max() <= 1e-9
    assert (solution.support >= 2).all()


def test_a_class_that_a_cluster_loses_does_not_hold_up_the_others():
    v = torch.linspace(-4, 4, 15, dtype=torch.float64)
    joint = torch.exp(-(v[:, None] ** 2 - 1.6 * v[:, None] * v + v**2) / 0.72)
    solution = information_bottleneck(joint / joint.sum(), [0.3])
    assert solution.converged.all()
    assert solution.gap.max() < 1e-6


ZEROS = [[0.2, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.1, 0.1], [0.1, 0.0, 0.2]]
BETAS = (0.003, 0.05, 0.2, 0.5, 0.95)


def sparse_joint(rows, classes, seed, zeros=0.5, power=2):
    """Some probability in every row, and a share of the entries 0."""
    draw = np.random.default_rng(seed)
    joint = draw.random((rows, classes)) ** power
    keep = draw.random((rows, classes)) >= zeros
    keep[np.arange(rows), draw.integers(classes, size=rows)] = True
    return joint * keep / (joint * keep).sum()


def bench_of_joints():
    """The module `benchmarks/random_joints.py`."""
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("random_joints")
    finally:
        sys.path.remove(folder)


def objective(solution):
    return solution.betas * solution.rate - solution.relevance


def least_by_random_starts(joint, beta, starts=20, updates=400):
    """The best of Blahut-Arimoto from random encoders, in NumPy."""
    joint = np.asarray(joint)
    draw = np.random.default_rng(0)
    p_x = joint.sum(1)
    p_y = joint / p_x[:, None]
    least = math.inf
    for _ in range(starts):
        encoder = draw.dirichlet(np.full(len(joint), 0.2), len(joint))
        for _ in range(updates):
            p_z = p_x @ encoder
            q = (encoder.T @ joint) / np.maximum(p_z, 1e-300)[:, None]
            score = np.log(np.maximum(p_z, 1e-300)) + p_y @ np.log(np.maximum(q, 1e-300)).T / beta
            encoder = np.exp(score - score.max(1, keepdims=True))
            encoder /= encoder.sum(1, keepdims=True)
        rate, relevance = slow_point(joint.tolist(), encoder.tolist())
        least = min(least, beta * rate - relevance)
    return least


@pytest.mark.parametrize("beta", [0.05, 0.3, 0.8])
def test_zeros_in_a_joint_of_three_classes_are_no_obstacle(beta):
    solution = information_bottleneck(ZEROS, [beta])
    assert solution.gap.item() <= 1e-9
    assert solution.converged.all()
    least = least_by_random_starts(ZEROS, beta)
    assert objective(solution).item() == pytest.approx(least, abs=1e-7)
    assert objective(solution).item() <= least + 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_no_random_start_is_better_on_sparse_joints_of_many_classes(seed):
    joint = sparse_joint(8 + 3 * seed, 2 + seed % 5, seed)
    solution = information_bottleneck(joint, BETAS)
    assert solution.gap.max() <= 1e-9
    assert solution.warning is None
    beta = BETAS[seed % len(BETAS)]
    least = least_by_random_starts(joint, beta, starts=3)
    assert objective(solution)[seed % len(BETAS)].item() <= least + 1e-10


@pytest.mark.parametrize("zeros", [0.0, 0.6])
def test_the_order_of_rows_and_classes_changes_nothing(zeros):
    joint = sparse_joint(12, 5, 3, zeros)
    plain = information_bottleneck(joint, BETAS)
    turned = information_bottleneck(joint[::-1, [3, 0, 4, 2, 1]], BETAS)
    assert torch.allclose(objective(plain), objective(turned), atol=1e-9)
    # Where the optimum is one encoder, so do its parts agree.
    assert torch.allclose(plain.rate[1:3], turned.rate[1:3], atol=1e-6)


def test_what_never_occurs_is_left_out_and_put_back():
    joint = torch.tensor(ZEROS, dtype=torch.float64)
    wider = torch.zeros(6, 5, dtype=torch.float64)
    x, y = torch.tensor([0, 2, 3, 5]), torch.tensor([1, 2, 4])
    wider[x[:, None], y] = joint
    plain, padded = (information_bottleneck(p, BETAS) for p in (joint, wider))
    assert torch.equal(padded.rate, plain.rate)
    assert torch.equal(padded.encoder[:, x], plain.encoder)
    assert torch.equal(padded.decoder[..., y], plain.decoder)
    assert not padded.decoder[..., [0, 3]].any()
    p_z = (joint.sum(1)[:, None] * plain.encoder).sum(1)
    assert torch.allclose(padded.encoder[:, 1], p_z)
    assert torch.allclose(padded.encoder[:, 4], p_z)


@pytest.mark.parametrize(
    "joint", [[[1.0]], [[0.3, 0.7]], [[0.4], [0.6]], [[0.0, 1.0]], [[0.06, 0.14], [0.24, 0.56]]]
)
def test_where_nothing_can_be_said_nothing_is(joint):
    solution = information_bottleneck(joint, [0.01, 0.5])
    assert solution.rate.tolist() == pytest.approx([0, 0], abs=1e-12)
    assert solution.relevance.tolist() == pytest.approx([0, 0], abs=1e-12)
    assert solution.encoder.shape[1] == len(joint)
    assert solution.decoder.shape[2] == len(joint[0])
    assert solution.converged.all()


def test_a_third_class_that_never_occurs_leaves_the_gap_proven():
    joint = torch.cat([random_joint(), torch.zeros(6, 1, dtype=torch.float64)], 1)
    assert information_bottleneck(joint, [0.2]).certified


def test_clusters_grow_until_the_gap_is_closed():
    joint = sparse_joint(60, 6, 0, zeros=0.0, power=4)
    grown = information_bottleneck(joint, [0.02])
    assert grown.support.item() > 30
    assert grown.gap.item() <= 1e-9
    assert grown.warning is None


def test_a_cap_that_binds_is_reported_and_never_called_converged():
    joint = sparse_joint(60, 6, 0, zeros=0.0, power=4)
    capped = information_bottleneck(joint, [0.02, 0.95], clusters=10)
    assert capped.encoder.shape[2] == 10
    assert capped.gap[0] > 0.1
    assert capped.converged.tolist() == [False, True]
    assert "at 1 of 2 betas" in capped.warning
    assert "needs more clusters than were allowed" in capped.warning


def test_a_tolerance_that_nothing_meets_is_never_called_converged():
    solution = information_bottleneck(random_joint(), [0.3], tolerance=1e-300)
    assert solution.converged.item() == (solution.gap.item() <= 1e-300)


def test_the_bound_is_tight_next_to_certainty():
    # Decoders at a logit of 20, where a softplus that is cut off there is 2e-9 off.
    joint = torch.tensor([[2.0, 0.0], [0.0, 8.0], [3.0, 1.0], [2.0, 1.0]], dtype=torch.float64) / 17
    solution = information_bottleneck(joint, [0.6, 0.7, 0.8, 0.99])
    assert solution.gap.max() <= 1e-9
    certain = torch.tensor([[0.4, 0.0], [0.0, 0.6]], dtype=torch.float64)
    assert information_bottleneck(certain, [0.5, 0.999]).gap.max() <= 1e-9


@pytest.mark.parametrize("power", [-12, -6])
def test_entries_of_all_sizes_are_solved(power):
    draw = np.random.default_rng(4)
    joint = 10.0 ** draw.uniform(power, 0, (15, 4))
    solution = information_bottleneck(joint / joint.sum(), [1e-9, 1e-3, 0.1, 0.9, 1.5])
    assert solution.gap.max() <= 1e-9
    assert torch.isfinite(solution.encoder).all()


def test_a_joint_next_to_independence_needs_one_cluster_and_little_time():
    joint = 1 + 1e-5 * np.random.default_rng(0).random((20, 4))
    solution = information_bottleneck(joint / joint.sum(), BETAS)
    assert solution.gap.max() <= 1e-12
    assert solution.iterations.max() < 100


def test_arrays_and_lists_are_taken_as_they_are():
    joint = random_joint(y=3)
    plain = information_bottleneck(joint, [0.1, 0.5])
    for other in (joint.numpy(), joint.tolist()):
        again = information_bottleneck(other, (0.1, 0.5))
        assert torch.equal(again.encoder, plain.encoder)


def test_a_rare_x_that_no_other_resembles_gets_its_own_cluster():
    joint = torch.tensor([[0.5, 0.0, 0.1], [0.0, 0.4, 0.0], [0.0, 0.0, 1e-17]], dtype=torch.float64)
    solution = information_bottleneck(joint / joint.sum(), [0.003])
    assert solution.support.item() == 3
    assert solution.gap.item() <= 1e-12


def test_clusters_next_to_the_ends_do_not_hold_up_the_others():
    joint = list(bench_of_joints().small_joints(389))[-1]
    solution = information_bottleneck(joint, [0.003])
    assert solution.gap.item() <= 1e-9
    assert solution.iterations.item() < 1000


def test_the_benchmark_of_random_joints_finds_no_gap():
    found = bench_of_joints().measure_small(6, starts=1, updates=50)
    assert found["above_1e-9"] == 0
    assert found["converged_share"] == 1
    assert found["most_above_a_slow_search"] <= 1e-10


def test_hundreds_of_clusters_are_solved_in_seconds():
    solution = information_bottleneck(sparse_joint(200, 10, 1, zeros=0.6, power=4), [0.1])
    assert solution.support.item() > 100
    assert solution.gap.item() <= 1e-6
    assert solution.iterations.item() < 100
