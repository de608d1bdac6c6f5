import itertools
import math

import pytest
import torch

from narrows.data import load_twelve_bit
from narrows.data.twelve_bit import joint, patterns, population, scores, solve_gamma, vertices
from narrows.errors import InputError


def symmetries():
    """The permutations of the vertices by every orthogonal map of the icosahedron onto itself.

    Such a map is fixed by where it sends three linearly independent vertices; it has to keep their
    angles, and then all twelve vertices have to land on vertices.
    """
    points = vertices()
    gram = points @ points.T
    for images in itertools.permutations(range(12), 3):
        rows = torch.tensor(images)
        if not torch.allclose(gram[rows][:, rows], gram[:3, :3]):
            continue
        matrix = torch.linalg.solve(points[:3], points[rows])
        match = ((points @ matrix) @ points.T - 1).abs() < 1e-9
        if match.sum() == 12:
            yield match.int().argmax(1)


def permuted_rows(order):
    """Row of each pattern after its bits were permuted."""
    return (patterns()[:, order].long() << torch.arange(12)).sum(1)


def test_every_pattern_occurs_once():
    x = patterns()
    assert x.shape == (4096, 12)
    assert len(x.unique(dim=0)) == 4096
    assert torch.equal(permuted_rows(torch.arange(12)), torch.arange(4096))


def test_vertices_form_an_icosahedron():
    cosines = (vertices() @ vertices().T)[~torch.eye(12, dtype=torch.bool)].view(12, 11)
    expected = torch.tensor([-1.0] + 5 * [-(5**-0.5)] + 5 * [5**-0.5], dtype=torch.float64)
    torch.testing.assert_close(cosines.sort(1).values, expected.expand(12, 11))


def test_scores_are_invariant_under_all_120_symmetries_and_have_82_orbits():
    f, smallest = scores(), torch.arange(4096)
    orders = list(symmetries())
    assert len({tuple(order.tolist()) for order in orders}) == 120
    for order in orders:
        rows = permuted_rows(order)
        assert torch.equal(f[rows], f)
        smallest = torch.minimum(smallest, rows)
    assert len(smallest.unique()) == 82


def test_scores_are_not_invariant_under_other_permutations():
    order = torch.arange(12)
    order[[0, 1]] = order[[1, 0]]
    assert not torch.equal(scores()[permuted_rows(order)], scores())


def test_scores_equal_a_count_pattern_by_pattern():
    points = vertices().tolist()
    f = scores()
    for row in range(0, 4096, 37):
        lit = [points[bit] for bit in range(12) if row >> bit & 1]
        angles = [
            round(math.degrees(math.acos(max(-1, sum(map(math.prod, zip(a, b, strict=True)))))))
            for a, b in itertools.combinations(lit, 2)
        ]
        k, e1, e3 = len(lit), angles.count(63), angles.count(180)
        assert f[row] == 114 * k - 11 * k * k + 24 * e1 - 12 * e3 - 429.5


def test_hard_labels_agree_with_the_published_counts():
    active = patterns().sum(1)
    y = scores() > 0
    assert y.sum() == 2118
    # Of the published patterns with 5, 6, 7 active bits 7.58 %, 57.58 %, 92.42 % have label 1.
    ones = [int(y[active == k].sum()) for k in range(13)]
    assert ones == [0, 0, 0, 0, 0, 60, 532, 732, 495, 220, 66, 12, 1]
    assert len(scores().unique()) == 51


def information_bits(table):
    """Mutual information of a joint distribution, sum by sum."""
    rows = table.tolist()
    p_y = [math.fsum(row[label] for row in rows) for label in (0, 1)]
    return math.fsum(
        p * math.log2(p / (sum(row) * p_y[label]))
        for row in rows
        for label, p in enumerate(row)
        if p > 0
    )


@pytest.mark.parametrize("bits", [0.01, 0.5, 0.99, 0.9991])
def test_soft_labels_have_the_information_that_was_asked_for(bits):
    table = joint(bits)
    assert table.dtype == torch.float64
    torch.testing.assert_close(table.sum(1), torch.full((4096,), 1 / 4096, dtype=torch.float64))
    assert information_bits(table) == pytest.approx(bits, abs=1e-12)
    log_odds = (table[:, 1] / table[:, 0]).log()
    mild = scores().abs() * solve_gamma(bits) < 30
    torch.testing.assert_close(log_odds[mild], (solve_gamma(bits) * scores())[mild])


def test_hard_labels_have_the_entropy_of_their_share():
    p = 2118 / 4096
    entropy = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    assert information_bits(joint(None)) == pytest.approx(entropy, abs=1e-12)
    assert entropy == pytest.approx(0.99916, abs=5e-6)


def test_gamma_grows_with_the_information():
    gammas = [solve_gamma(bits) for bits in (0.1, 0.5, 0.9, 0.99, 0.999)]
    assert gammas == sorted(set(gammas))


@pytest.mark.parametrize("bits", [0, -0.1, 0.9992, 1, float("nan")])
def test_unattainable_information_is_refused(bits):
    with pytest.raises(InputError, match=r"between 0 and 0.99915"):
        solve_gamma(bits)


def test_population_labels_hard_and_soft():
    hard, soft = population(), population(0.5, seed=3)
    assert torch.equal(hard.y, (scores() > 0).long())
    assert torch.equal(soft.y, population(0.5, seed=3).y)
    assert not torch.equal(soft.y, population(0.5, seed=4).y)
    # The number of ones is a sum of independent draws: within five standard deviations.
    p1 = joint(0.5)[:, 1] * 4096
    assert abs(soft.y.sum() - p1.sum()) < 5 * (p1 * (1 - p1)).sum().sqrt()
    certain = (p1 < 1e-9) | (p1 > 1 - 1e-9)
    assert torch.equal(soft.y[certain], hard.y[certain])
    assert not hard.image


def test_splits_are_stratified_and_hold_every_pattern_once():
    splits = load_twelve_bit()
    assert [len(part) for part in splits] == [2621, 655, 820]
    assert len(torch.cat([part.x for part in splits]).unique(dim=0)) == 4096
    for part in splits:
        assert part.y.double().mean().item() == pytest.approx(2118 / 4096, abs=1e-3)
