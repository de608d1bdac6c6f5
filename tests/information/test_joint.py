import math

import pytest
import torch

from narrows.information._joint import coarsen, merge_rows, mutual_information, reduce, spread
from scenarios import BinarySymmetric, generator


def random_joint(rows, columns, seed=0):
    joint = torch.rand(rows, columns, generator=generator(seed), dtype=torch.float64)
    return joint / joint.sum()


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("scale", [1.0, 3.0, 1 / 7])
def test_rows_that_are_equal_up_to_rounding_are_one(classes, scale):
    """Also where their probabilities are at the edge of any grid that they might be rounded to."""
    edges = (torch.arange(1, 40, dtype=torch.float64) + 0.5) * 1e-12
    for nudge in (0.0, 2e-16, -2e-16, 1e-15):
        p = torch.full((len(edges), classes), 1 / classes, dtype=torch.float64)
        p[:, 0] = 0.25 + 1e-3 * torch.arange(len(edges)) + edges
        p[:, 1:] *= ((1 - p[:, 0]) / p[:, 1:].sum(1))[:, None]
        other = p.clone()
        other[:, 0] += nudge
        other[:, 1] -= nudge
        joint = torch.cat([p, scale * other])
        source, merged = merge_rows(joint / joint.sum())
        assert len(source.p_x) == len(edges)
        assert torch.equal(merged[: len(edges)], merged[len(edges) :])


def test_rows_that_differ_stay_apart():
    p = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.5, 0.5 - 1e-9, 1e-9]]).double()
    assert len(merge_rows(p / 3)[0].p_x) == 3
    source, merged = merge_rows(torch.tensor([[0.2, 0.1], [0.1, 0.2], [0.4, 0.2]]).double() / 1.2)
    assert merged.tolist() == [0, 1, 0]
    assert source.p_x.tolist() == pytest.approx([0.75, 0.25])


def test_merging_keeps_the_information():
    joint = random_joint(6, 4)[[0, 1, 2, 2, 1, 3, 4, 5, 5]]
    joint = joint / joint.sum()
    source, merged = merge_rows(joint)
    assert len(source.p_x) == 6
    p_x = joint.sum(1)
    expected = mutual_information(p_x, joint / p_x[:, None])
    assert mutual_information(source.p_x, source.p_y).item() == pytest.approx(expected.item())
    assert torch.allclose(source.p_y[merged], joint / p_x[:, None])


def test_what_never_occurs_is_left_out_and_put_back():
    joint = reduce([[0.5, 0.0, 0.1], [0.0, 0.0, 0.0], [0.1, 0.0, 0.3]])
    assert joint.classes.tolist() == [0, 2]
    assert joint.merged.tolist() == [1, -1, 0] or joint.merged.tolist() == [0, -1, 1]
    rows = torch.tensor([[[1.0], [2.0]]])
    restored = joint.restore_rows(rows, torch.tensor([[[9.0]]]))
    assert restored[0, 1].item() == 9.0
    assert sorted(restored[0, [0, 2], 0].tolist()) == [1.0, 2.0]
    classes = joint.restore_classes(torch.tensor([0.25, 0.75]))
    assert classes.tolist() == [0.25, 0.0, 0.75]


def test_a_single_class_is_solved_as_two():
    joint = reduce([[0.4], [0.6]])
    assert joint.source.p_y.shape == (1, 2)
    assert joint.restore_classes(torch.tensor([1.0, 0.0])).tolist() == [1.0]


def test_information_of_a_symmetric_channel():
    target = BinarySymmetric(0.1)
    conditional = 2 * target.joint
    value = mutual_information(torch.full((2,), 0.5).double(), conditional)
    assert value.item() == pytest.approx(target.information)


def test_coarse_rows_keep_mass_mean_and_two_more_moments():
    joint = random_joint(500, 2)
    fine, _ = merge_rows(joint)
    coarse = coarsen(fine, 8)
    assert len(coarse.p_x) <= 16
    for power in range(4):
        moments = [(part.p_x * part.p_y[:, 1] ** power).sum().item() for part in (fine, coarse)]
        assert moments[0] == pytest.approx(moments[1], rel=1e-9)


def test_spread_rows_begin_with_the_first_and_go_on_with_the_farthest():
    p_y = torch.tensor([[0.5, 0.5], [0.45, 0.55], [1.0, 0.0], [0.0, 1.0]]).double()
    rows = spread(p_y, 3)
    assert rows[0].tolist() == [0.5, 0.5]
    assert sorted(rows[1:, 0].tolist()) == [0.0, 1.0]
    assert math.isclose(rows.sum().item(), 3)
