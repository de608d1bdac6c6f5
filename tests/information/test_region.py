import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from narrows.errors import InputError
from narrows.information import achievable_region, chain_information, phase_transitions
from scenarios import BinarySymmetric, NoiselessLabels, generator


def random_joint(x=6, y=2, seed=0):
    joint = torch.rand(x, y, dtype=torch.float64, generator=generator(seed)) ** 3
    return joint / joint.sum()


@pytest.mark.parametrize("classes", [2, 3])
def test_no_random_code_is_above_the_bound(classes):
    joint = random_joint(y=classes)
    region = achievable_region(joint)
    draw = generator(1)
    for _ in range(200):
        sharpness = 8 * torch.rand(1, dtype=torch.float64, generator=draw)
        noise = torch.randn(6, 4, dtype=torch.float64, generator=draw)
        [(rate, relevance)] = chain_information([(sharpness * noise).softmax(1)], joint)
        assert relevance <= region.bound([rate]).item() + 1e-9


def test_the_bound_touches_the_curve_where_it_was_solved_and_is_close_between():
    target = BinarySymmetric(0.1)
    region = achievable_region(target.joint)
    for q in (0.05, 0.2, 0.35, 0.45):
        bound = region.bound([target.rate(q)]).item()
        assert target.relevance(q) <= bound + 1e-9
        assert bound == pytest.approx(target.relevance(q), abs=2e-4)
    solved = region.solution
    assert torch.allclose(region.bound(solved.rate), solved.relevance, atol=1e-8)
    assert region.bound([100.0]).item() == pytest.approx(target.information)
    assert region.bound([0.0]).item() == 0


def test_the_curve_begins_at_nothing_and_rises():
    points = achievable_region(random_joint()).curve()
    assert points[0][1:] == (0, 0)
    for one, other in pairwise(points):
        assert other.rate >= one.rate - 1e-9
        assert other.relevance >= one.relevance - 1e-9
        assert other.relevance - one.relevance <= one.beta * (other.rate - one.rate) + 1e-9


def test_its_rows_can_be_drawn():
    region = achievable_region(random_joint())
    rows = region.rows(count=20)
    assert len(rows) == 4 * 20
    by_name = {row["bound"] for row in rows}
    assert "exact bound" in by_name
    assert all(row["relevance"] <= region.information + 1e-12 for row in rows)


def test_the_symmetric_channel_has_one_transition():
    target = BinarySymmetric(0.1)
    [found] = phase_transitions(target.joint, 0.05)
    assert found.beta == pytest.approx(target.critical_beta, rel=1e-3)
    assert (found.above, found.below) == (1, 2)


def test_noiseless_labels_all_appear_at_once():
    [found] = phase_transitions(NoiselessLabels(4).joint, 0.1)
    assert found.beta == pytest.approx(1, rel=1e-3)
    assert (found.above, found.below) == (1, 4)


def test_two_channels_beside_each_other_open_one_after_the_other():
    # x names one of two channels for certain; y names it too, then the channel's own bit.
    joint = torch.zeros(4, 4, dtype=torch.float64)
    for i, flip in enumerate((0.05, 0.2)):
        joint[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = BinarySymmetric(flip).joint / 2
    found = phase_transitions(joint, 0.2)
    assert [one.beta for one in found] == pytest.approx([1, 0.81, 0.36], rel=1e-2)
    assert [one.below for one in found] == [2, 3, 4]


def test_where_there_is_no_curve_it_says_so():
    nothing = torch.outer(torch.tensor([0.2, 0.8]), torch.tensor([0.4, 0.6])).double()
    with pytest.raises(InputError, match="X and Y are independent"):
        achievable_region(nothing)
    with pytest.raises(InputError, match="between 0 and beta_0"):
        phase_transitions(BinarySymmetric().joint, 0.9)
    assert math.isfinite(achievable_region(BinarySymmetric().joint).beta_0)


def test_a_bound_takes_lists_and_arrays_and_the_curve_any_joint():
    joint = [[0.2, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.1, 0.1], [0.1, 0.0, 0.2], [0.0, 0.0, 0.0]]
    region = achievable_region(joint)
    assert region.solution.converged.all()
    assert torch.equal(region.bound([0.1, 0.2]), region.bound(np.array([0.1, 0.2])))


def test_impossible_settings_are_refused():
    joint = BinarySymmetric().joint
    with pytest.raises(InputError, match="grid must be at least 2"):
        phase_transitions(joint, 0.1, grid=1)
    with pytest.raises(InputError, match="lowest must be a number"):
        phase_transitions(joint, "0.1")
