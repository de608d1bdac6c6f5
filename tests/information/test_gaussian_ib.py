import math

import pytest
import torch
from torch import Tensor

from narrows.errors import InputError
from narrows.information import gaussian_bottleneck, information_bottleneck
from scenarios import CorrelatedGaussians, generator


def random_covariances(x, y, seed=0):
    """Three blocks of one random covariance, in units that differ by column."""
    root = torch.randn(x + y, x + y + 2, dtype=torch.float64, generator=generator(seed))
    units = torch.logspace(-2, 2, x + y, dtype=torch.float64)
    whole = units[:, None] * (root @ root.T) * units
    return whole[:x, :x], whole[:x, x:], whole[x:, x:]


def linear_code(blocks, projection):
    """I(X;Z), I(Z;Y) of Z = A x + N(0, I), from determinants of covariances."""
    s_xx, s_xy, s_yy = blocks
    total = projection @ s_xx @ projection.T + torch.eye(len(projection)).double()
    left = total - projection @ s_xy @ torch.linalg.solve(s_yy, s_xy.T @ projection.T)
    return 0.5 * total.logdet().item(), 0.5 * (total.logdet() - left.logdet()).item()


@pytest.mark.parametrize("rho", [0.05, 0.5, 0.8, 0.999])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.9, 0.999])
def test_the_scalar_case_follows_its_formula(rho, share):
    beta = share * rho**2
    one = torch.ones(1, 1, dtype=torch.float64)
    solution = gaussian_bottleneck(one, rho * one, one, [beta])
    rate = 0.5 * math.log(rho**2 * (1 - beta) / (beta * (1 - rho**2)))
    relevance = 0.5 * math.log((1 - beta) / (1 - rho**2))
    assert solution.rate.item() == pytest.approx(rate, abs=1e-12)
    assert solution.relevance.item() == pytest.approx(relevance, abs=1e-12)
    assert solution.critical_betas.item() == pytest.approx(rho**2, abs=1e-12)
    assert solution.information == pytest.approx(CorrelatedGaussians(rho).information, abs=1e-12)


@pytest.mark.parametrize("sizes", [(3, 3), (5, 2), (2, 4)])
def test_the_projection_has_the_rate_and_the_relevance_that_are_claimed(sizes):
    blocks = random_covariances(*sizes)
    critical = gaussian_bottleneck(*blocks, [0.5]).critical_betas
    betas = [critical[0].item() * share for share in (0.01, 0.3, 0.9, 1.1)]
    solution = gaussian_bottleneck(*blocks, betas)
    assert solution.projection.shape == (4, min(sizes), sizes[0])
    for b, (beta, rate, relevance) in enumerate(solution.points()):
        assert beta == betas[b]
        assert linear_code(blocks, solution.projection[b]) == pytest.approx(
            (rate, relevance), abs=1e-8
        )
        passing = solution.projection[b].abs().sum(1) > 0
        assert torch.equal(passing, critical > beta)


def test_no_random_linear_encoder_is_better():
    blocks = random_covariances(4, 3)
    betas = [0.05, 0.3, 0.7]
    solution = gaussian_bottleneck(*blocks, betas)
    draw = generator(1)
    for _ in range(200):
        scale = 10 ** (4 * torch.rand(1, dtype=torch.float64, generator=draw) - 3)
        other = scale * torch.randn(3, 4, dtype=torch.float64, generator=draw)
        near = solution.projection[1] * (1 + 0.1 * other)
        for code in (other, near):
            rate, relevance = linear_code(blocks, code)
            for beta, best_rate, best_relevance in solution.points():
                assert beta * best_rate - best_relevance <= beta * rate - relevance + 1e-9


def test_weak_compression_passes_all_there_is_and_strong_compression_nothing():
    blocks = random_covariances(3, 2)
    weak, strong = gaussian_bottleneck(*blocks, [1e-9, 1.0]).points()
    information = gaussian_bottleneck(*blocks, [0.5]).information
    assert weak.relevance == pytest.approx(information, abs=1e-6)
    assert (strong.rate, strong.relevance) == (0, 0)


def test_the_slope_of_the_curve_is_beta():
    blocks = random_covariances(3, 3)
    for beta in (0.05, 0.2, 0.5):
        one, other = gaussian_bottleneck(*blocks, [beta, beta * (1 + 1e-5)]).points()
        slope = (one.relevance - other.relevance) / (one.rate - other.rate)
        assert slope == pytest.approx(beta, rel=1e-4)


def test_units_do_not_matter():
    s_xx, s_xy, s_yy = random_covariances(3, 2)
    solution = gaussian_bottleneck(s_xx, s_xy, s_yy, [0.1])
    scaled = gaussian_bottleneck(1e12 * s_xx, 1e3 * s_xy, 1e-6 * s_yy, [0.1])
    assert scaled.rate.item() == pytest.approx(solution.rate.item(), abs=1e-9)
    assert scaled.projection[0] == pytest.approx(1e-6 * solution.projection[0], rel=1e-6)


def test_the_discrete_solver_on_a_fine_grid_comes_near():
    rho, beta = 0.7, 0.2
    edges = torch.linspace(-4, 4, 41, dtype=torch.float64)
    x, y = torch.meshgrid(edges, edges, indexing="ij")
    joint = torch.exp(-(x**2 - 2 * rho * x * y + y**2) / (2 * (1 - rho**2)))
    grid = information_bottleneck(joint / joint.sum(), [beta], 8)
    one = torch.ones(1, 1)
    exact = gaussian_bottleneck(one, rho * one, one, [beta])
    found = beta * grid.rate - grid.relevance
    assert found.item() == pytest.approx((beta * exact.rate - exact.relevance).item(), abs=3e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s_xx": torch.ones(2, 3)}, "s_xx must be a square matrix"),
        ({"s_xx": torch.ones(2)}, "s_xx must be a matrix of real numbers"),
        ({"s_xx": torch.ones(0, 0)}, "s_xx must be a matrix of real numbers"),
        ({"s_yy": torch.eye(1) + 0j}, "s_yy must hold real numbers, got complex64"),
        ({"s_xy": "none"}, "s_xy must be a torch.Tensor"),
        ({"s_xx": torch.tensor([[1.0, 0.5], [0.0, 1.0]])}, "s_xx must be symmetric"),
        ({"s_xx": torch.full((2, 2), math.nan)}, "s_xx must be symmetric and finite"),
        ({"s_xx": torch.ones(2, 2)}, "s_xx is singular"),
        ({"s_yy": torch.zeros(1, 1)}, "s_yy is singular"),
        ({"s_xy": torch.zeros(1, 2)}, r"s_xy must be \[2, 1\]"),
        ({"s_xy": torch.tensor([[math.inf], [0.0]])}, "NaN or inf"),
        ({"s_xy": torch.tensor([[2.0], [0.0]])}, "a correlation of 2"),
        ({"s_xy": torch.tensor([[1.0], [0.0]])}, "X determines a direction of Y"),
        ({"betas": [0.0]}, "finite and above 0"),
        ({"betas": [math.inf]}, "finite and above 0"),
    ],
)
def test_what_is_no_gaussian_is_refused(change, message):
    settings = {
        "s_xx": torch.eye(2),
        "s_xy": torch.tensor([[0.5], [0.0]]),
        "s_yy": torch.eye(1),
        "betas": [0.1],
    }
    with pytest.raises(InputError, match=message):
        gaussian_bottleneck(**(settings | change))


def test_arrays_and_lists_are_taken_as_they_are():
    blocks = random_covariances(3, 2)
    plain = gaussian_bottleneck(*blocks, [0.1])
    for change in (Tensor.numpy, Tensor.tolist):
        again = gaussian_bottleneck(*(change(block) for block in blocks), [0.1])
        assert torch.equal(again.projection, plain.projection)
    assert gaussian_bottleneck([[1]], [[0.5]], [[1]], [0.1]).rate.item() > 0


def test_what_is_independent_says_nothing_at_any_beta():
    solution = gaussian_bottleneck(torch.eye(3), torch.zeros(3, 2), torch.eye(2), [1e-6, 0.5, 2.0])
    assert solution.rate.tolist() == solution.relevance.tolist() == [0, 0, 0]
    assert solution.information == 0
    assert not solution.projection.any()


def test_equal_correlations_pass_together():
    solution = gaussian_bottleneck(torch.eye(2), 0.6 * torch.eye(2), torch.eye(2), [0.1, 0.4])
    scalar = gaussian_bottleneck([[1.0]], [[0.6]], [[1.0]], [0.1, 0.4])
    assert torch.allclose(solution.rate, 2 * scalar.rate, atol=1e-7)
    assert solution.rate[1] == 0
