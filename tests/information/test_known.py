import math

import pytest
import torch

from narrows.errors import InputError
from narrows.information import discrete_information
from narrows.information.known import (
    correlated_gaussians,
    coupled_values,
    gaussian_channel,
    gaussian_classes,
    quantile_coupling,
)
from scenarios import TwoGaussians, generator


def test_one_seed_gives_the_same_samples_and_another_gives_others():
    known = correlated_gaussians(0.5)
    assert torch.equal(known.sample(10, 3)[0], known.sample(10, 3)[0])
    assert not torch.equal(known.sample(10, 3)[0], known.sample(10, 4)[0])


@pytest.mark.parametrize(("columns_x", "columns_z"), [(1, 1), (4, 2), (2, 5)])
def test_gaussians_have_the_correlations_that_carry_the_information(columns_x, columns_z):
    """Of jointly Gaussian samples I = -1/2 log det(correlation) + those of x and of z alone."""
    known = correlated_gaussians(0.8, columns_x, columns_z)
    x, z = known.sample(50_000)
    assert x.shape == (50_000, columns_x)
    assert z.shape == (50_000, columns_z)

    def log_det(part):
        return torch.linalg.slogdet(torch.atleast_2d(torch.corrcoef(part.T))).logabsdet

    both = torch.cat([x, z], 1)
    assert 0.5 * (log_det(x) + log_det(z) - log_det(both)) == pytest.approx(0.8, abs=0.02)
    assert both.std(0) == pytest.approx(torch.ones(both.shape[1]), abs=0.02)
    assert known.information == 0.8


def test_a_channel_has_the_signal_and_the_noise_that_it_was_given():
    known = gaussian_channel(3, signal=2.0, noise=0.5)
    mean, scale = known.sample(20_000)
    assert mean.std(0).tolist() == pytest.approx([2.0] * 3, rel=0.03)
    assert (scale == 0.5).all()
    assert known.information == pytest.approx(1.5 * math.log(17))


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.5, 1.0, 3.0])
def test_two_classes_have_the_information_of_a_fine_grid(offset):
    known = gaussian_classes([0.5, 0.5], apart=2 * offset)
    assert known.information == pytest.approx(TwoGaussians(offset).information, abs=1e-6)


def test_many_classes_are_drawn_in_their_shares_along_the_diagonal():
    p = torch.tensor([0.5, 0.3, 0.2])
    known = gaussian_classes(p, d=4, apart=30.0)
    mean, z, y = known.sample(50)
    assert torch.bincount(y).tolist() == [25, 15, 10]
    assert known.information == pytest.approx(-(p * p.log()).sum().item(), abs=1e-6)
    # The distance of neighbouring means is that of the diagonal.
    assert (mean[y == 1][0] - mean[y == 0][0]).norm() == pytest.approx(30.0)
    assert (z - mean).std() == pytest.approx(1.0, abs=0.2)


def test_a_hundred_classes_are_integrated_as_few_are():
    """A class that never occurs adds nothing, also where the classes are taken in groups."""
    p = torch.zeros(100)
    p[70:72] = 0.5
    few, many = gaussian_classes([0.5, 0.5], apart=1.0), gaussian_classes(p, apart=1.0)
    assert many.information == pytest.approx(few.information, abs=1e-9)


def test_probabilities_of_classes_must_sum_to_one():
    with pytest.raises(InputError, match="p_y must sum to 1"):
        gaussian_classes([0.5, 0.4])


def test_the_coupling_keeps_both_margins_and_decides_as_much_as_it_can():
    p_x, p_y = (torch.rand(size, generator=generator(size)).double() for size in (5, 3))
    p_x, p_y = p_x / p_x.sum(), p_y / p_y.sum()
    table = quantile_coupling(p_x, p_y)
    assert torch.allclose(table.sum(1), p_x)
    assert torch.allclose(table.sum(0), p_y)
    # A staircase has no more entries than both margins together, less one.
    assert (table > 1e-12).sum() <= 7
    assert torch.allclose(quantile_coupling(p_x, p_x), torch.diag(p_x))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_coupled_values_have_the_information_of_their_table(share):
    values = torch.tensor([[0, 0], [0, 1], [5, 5]])
    p_x, p_y = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.6, 0.4]).double()
    known = coupled_values(values, p_x, p_y, share)
    x, y = known.sample(100_000)
    number = (x[:, None] == values).all(2).int().argmax(1)
    counts = torch.zeros(3, 2).double().index_put_((number, y), torch.ones(1).double(), True)
    assert discrete_information(counts / counts.sum()) == pytest.approx(known.information, abs=5e-3)
    assert (known.information == pytest.approx(0, abs=1e-12)) == (share == 0)
