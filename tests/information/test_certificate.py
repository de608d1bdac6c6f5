import pytest
import torch

from narrows.information._certificate import divergences, highest
from narrows.information._joint import Source
from scenarios import generator


def random_joint(x, y, seed):
    joint = torch.rand(x, y, dtype=torch.float64, generator=generator(seed)) ** 4
    return joint / joint.sum()


def code(p_x, p_y, log_weight, t):
    """Arguments of `highest` for one code: c(q) = sum_x exp(log_weight - t d(x, q))."""
    t = torch.tensor([t], dtype=torch.float64)
    return Source(p_x, p_y), (p_x.log() - log_weight)[None], t, p_y[None]


def test_the_highest_decoder_is_enclosed_where_a_fine_grid_finds_it():
    joint = random_joint(9, 2, seed=4)
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
    joint = random_joint(9, 3, seed=4)
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


def test_a_divergence_is_that_of_its_definition_and_infinite_ones_are_large():
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).double()
    q = torch.tensor([[0.25, 0.75], [0.0, 1.0]]).double()
    found = divergences(p, q)
    assert found[0, 0].item() == pytest.approx(torch.log(torch.tensor(4 / 3)).item() / 2)
    assert found[1, 0].item() == pytest.approx(torch.log(torch.tensor(4.0)).item())
    assert (found[:, 1] > 300).all()
