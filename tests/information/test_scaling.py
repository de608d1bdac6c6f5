import pytest
import torch

from narrows.errors import InputError
from narrows.information._scaling import column_units, scale_columns
from scenarios import generator

POINTS = torch.randn(200, 3, dtype=torch.float64, generator=generator(0)) * torch.tensor(
    [1, 10, 0.1]
)
Y = torch.arange(200) % 2


def test_columns_get_mean_0_and_standard_deviation_1():
    scaled, _ = scale_columns(POINTS + 5, "columns")
    assert scaled.mean(0).tolist() == pytest.approx([0] * 3, abs=1e-12)
    assert scaled.std(0).tolist() == pytest.approx([1] * 3)


def test_a_vector_keeps_the_proportions_of_its_columns():
    scaled, _ = scale_columns(POINTS, "vectors")
    assert scaled.var(0).mean().item() == pytest.approx(1)
    ratio = scaled.std(0) / POINTS.std(0)
    assert torch.allclose(ratio, ratio[0])


def test_ranks_become_normal_scores_which_no_increasing_map_changes():
    scaled, _ = scale_columns(POINTS, "ranks")
    assert torch.equal(scaled, scale_columns(POINTS.exp(), "ranks")[0])
    assert scaled.std(0).tolist() == pytest.approx([1] * 3, abs=0.02)
    tied, _ = scale_columns(torch.tensor([[1.0], [1.0], [2.0], [3.0]]).double(), "ranks")
    assert tied[0] == tied[1] < tied[2] < tied[3]
    assert tied[0].item() == pytest.approx(torch.special.ndtri(torch.tensor(0.25)).item())


def test_nothing_changes_without_scaling():
    scaled, rounding = scale_columns(POINTS, "none")
    assert torch.equal(scaled, POINTS)
    assert 0 < rounding < 1e-12


def test_with_labels_the_unit_is_the_spread_within_the_classes():
    points = POINTS + 100 * Y[:, None]
    scaled, _ = scale_columns(points, "columns", Y)
    within = torch.stack([scaled[label == Y].std(0) for label in (0, 1)]).mean(0)
    assert within.tolist() == pytest.approx([1] * 3, rel=0.02)
    # A column that is constant within the classes is scaled by a share of what it varies by.
    decided, _ = scale_columns(Y[:, None].double(), "columns", Y)
    assert decided.isfinite().all()


@pytest.mark.parametrize("factor", [1e-200, 1e-30, 1e30, 1e140])
def test_numbers_of_all_sizes_have_their_standard_deviation(factor):
    units = column_units(factor * POINTS)
    assert (units / factor).tolist() == pytest.approx(POINTS.std(0).tolist())


def test_a_column_of_rounding_alone_is_constant():
    rounding = 1 + 3e-16 * POINTS[:, :1]
    scaled, distances = scale_columns(torch.cat([POINTS, rounding], 1), "columns")
    assert (scaled[:, 3] == scaled[0, 3]).all()
    assert distances == scale_columns(POINTS, "columns")[1]
    large = torch.full((200, 1), 1e16).double()
    assert scale_columns(torch.cat([POINTS, large], 1), "columns")[1] == distances
    single = (1 + 3e-8 * POINTS[:, :1]).float().double()
    assert scale_columns(single, "columns")[0].std() > 0.9
    assert scale_columns(single, "columns", eps=2.0**-23)[0].std() == 0


def test_a_constant_column_has_the_unit_1():
    assert column_units(torch.full((5, 1), 3.0).double()).tolist() == [1.0]
    scaled, _ = scale_columns(torch.full((5, 1), 3.0).double(), "columns")
    assert not scaled.any()


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_the_rounding_covers_what_an_offset_costs(offset):
    """Numbers far from 0 have lost digits, which shows in the distances of the scaled ones."""
    exact, _ = scale_columns(POINTS[:, :1], "columns")
    scaled, rounding = scale_columns(POINTS[:, :1] + offset, "columns")
    assert (scaled - exact).abs().max() <= rounding
    assert rounding < 1e-14 * (offset + 10)


def test_an_unknown_scaling_is_refused():
    with pytest.raises(InputError, match=r"scaling must be one of 'columns', .*, got 'row'"):
        scale_columns(POINTS, "row")
