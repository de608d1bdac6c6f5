import math

import pytest
import torch

from narrows.errors import InputError
from narrows.information import (
    code_information,
    deterministic_bottleneck,
    discrete_entropy,
    information_bottleneck,
)
from scenarios import NoiselessLabels, generator

BETAS = [0.02, 0.1, 0.3, 0.6]


def random_joint(x=6, y=3, seed=0):
    joint = torch.rand(x, y, dtype=torch.float64, generator=generator(seed)) ** 3
    return joint / joint.sum()


def partitions(n):
    """Every way to put n things into groups, as a list of group numbers."""
    if n == 0:
        yield []
        return
    for rest in partitions(n - 1):
        for group in range(max(rest, default=-1) + 2):
            yield [*rest, group]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 3])
def test_no_partition_of_a_tiny_joint_is_better(seed, classes):
    joint = random_joint(y=classes, seed=seed)
    found = deterministic_bottleneck(joint, BETAS)
    points = [code_information(torch.tensor(codes), joint) for codes in partitions(6)]
    for beta, point in zip(BETAS, found.points(), strict=True):
        best = min(beta * rate - relevance for rate, relevance in points)
        assert beta * point.rate - point.relevance == pytest.approx(best, abs=1e-12)


def test_what_is_returned_belongs_together():
    joint = random_joint(9, 4)
    found = deterministic_bottleneck(joint, BETAS, clusters=5)
    for codes, point in zip(found.codes, found.points(), strict=True):
        assert (point.rate, point.relevance) == pytest.approx(code_information(codes, joint))
        # Numbered in the order in which they occur.
        assert codes[0] == 0
        assert codes.unique().tolist() == list(range(int(codes.max()) + 1))
    assert ((found.agreement > 0) & (found.agreement <= 1)).all()


def test_the_stochastic_bottleneck_is_never_worse():
    joint = random_joint(8, 2)
    hard, soft = deterministic_bottleneck(joint, BETAS), information_bottleneck(joint, BETAS)
    assert (
        soft.betas * soft.rate - soft.relevance - soft.gap
        <= hard.betas * hard.rate - hard.relevance + 1e-12
    ).all()


def test_noiseless_labels_are_their_own_best_code():
    target = NoiselessLabels()
    found = deterministic_bottleneck(target.joint, [0.5, 1.1])
    assert found.rate.tolist() == pytest.approx([math.log(4), 0])
    assert found.relevance.tolist() == pytest.approx([math.log(4), 0])
    assert found.codes[0].tolist() == [0, 1, 2, 3] * 3


def test_next_to_no_compression_keeps_every_row_apart():
    joint = random_joint()
    found = deterministic_bottleneck(joint, [1e-6])
    assert found.rate.item() == pytest.approx(discrete_entropy(joint.sum(1)))
    assert found.relevance.item() == pytest.approx(found.information)


@pytest.mark.parametrize("settings", [{"clusters": 0}, {"restarts": 0}, {"betas": [0.0]}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError):
        deterministic_bottleneck(random_joint(), **{"betas": [0.5], **settings})


@pytest.mark.parametrize("settings", [{"clusters": 2.5}, {"restarts": "3"}, {"seed": -1}])
def test_settings_that_are_no_counts_are_named(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        deterministic_bottleneck(random_joint(), [0.5], **settings)


@pytest.mark.parametrize("seed", range(3))
def test_no_partition_is_better_with_zeros_and_ties(seed):
    joint = random_joint(seed=seed) * (random_joint(seed=seed + 10) > 0.02)
    joint[3] = joint[2]
    joint = joint / joint.sum()
    solution = deterministic_bottleneck(joint, BETAS)
    points = [code_information(torch.tensor(codes), joint) for codes in partitions(6)]
    for beta, point in zip(BETAS, solution.points(), strict=True):
        best = min(beta * rate - relevance for rate, relevance in points)
        assert beta * point.rate - point.relevance == pytest.approx(best, abs=1e-12)
    assert (solution.codes[:, 2] == solution.codes[:, 3]).all()


@pytest.mark.parametrize(
    "joint", [[[1.0]], [[0.3, 0.7]], [[0.4], [0.6]], [[0.06, 0.14], [0.24, 0.56]]]
)
def test_where_nothing_can_be_said_all_x_are_one(joint):
    solution = deterministic_bottleneck(joint, [0.1])
    assert solution.codes.tolist() == [[0] * len(joint)]
    assert solution.relevance.item() == pytest.approx(0, abs=1e-12)


def test_an_x_that_never_occurs_joins_the_largest_cluster():
    joint = [[0.0, 0.0], [0.3, 0.0], [0.0, 0.7]]
    assert deterministic_bottleneck(joint, [0.1]).codes.tolist() == [[0, 1, 0]]


def test_a_cap_that_may_bind_is_reported():
    joint = random_joint(12, 4)
    assert deterministic_bottleneck(joint, [1e-3], clusters=12).warning is None
    assert "all 3 clusters" in deterministic_bottleneck(joint, [1e-3, 1.5], clusters=3).warning


def test_clusters_are_added_until_they_suffice():
    joint = random_joint(24, 4)
    given, chosen = (deterministic_bottleneck(joint, [1e-3, 0.3], clusters=c) for c in (24, None))
    assert chosen.clusters == 20 or chosen.clusters == 24
    assert chosen.warning is None
    assert chosen.relevance.tolist() == pytest.approx(given.relevance.tolist(), abs=5e-3)
    # With a cap of ten, as much is not reached at the smaller beta.
    capped = deterministic_bottleneck(joint, [1e-3, 0.3], clusters=10)
    assert capped.relevance[0] < chosen.relevance[0] - 1e-3
    assert "give clusters=20" in capped.warning


def test_where_ten_clusters_suffice_nothing_changes():
    joint = random_joint(30, 3)
    chosen = deterministic_bottleneck(joint, [0.2, 0.4])
    assert chosen.clusters == 10
    capped = deterministic_bottleneck(joint, [0.2, 0.4], clusters=10)
    assert torch.equal(chosen.codes, capped.codes)
    assert torch.equal(chosen.agreement, capped.agreement)


def test_a_large_joint_has_a_limit_which_the_warning_names(monkeypatch):
    monkeypatch.setattr("narrows.information.deterministic_ib._CHEAP", 24 * 4 * 19)
    solution = deterministic_bottleneck(random_joint(24, 4), [1e-3])
    assert solution.clusters == 10
    assert "all 10 clusters that were tried are used" in solution.warning
