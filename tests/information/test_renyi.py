import math

import numpy as np
import pytest
import torch

from narrows.errors import InputError
from narrows.information import (
    gaussian_kernel,
    linear_kernel,
    renyi_entropy,
    renyi_information,
)
from scenarios import Clusters, CorrelatedGaussians, generator


def slow_entropy(kernels, alpha):
    """The definition, by NumPy and one number at a time."""
    n = len(kernels[0])
    state = np.ones((n, n))
    for k in kernels:
        for i in range(n):
            for j in range(n):
                state[i, j] *= k[i, j] / math.sqrt(k[i, i] * k[j, j])
    values = np.linalg.eigvalsh(state / np.trace(state))
    if alpha == 1:
        return -sum(v * math.log(v) for v in values if v > 0)
    return math.log(sum(v**alpha for v in values if v > 0)) / (1 - alpha)


@pytest.mark.parametrize("alpha", [0.5, 1, 1.01, 2, 3.0])
def test_entropies_equal_their_definition(alpha):
    x, z = CorrelatedGaussians(0.8, d=3).sample(20)
    kernels = gaussian_kernel(x, 1.0), linear_kernel(z) + 0.1 * torch.eye(20)
    for some in (kernels[:1], kernels[1:], kernels):
        expected = slow_entropy([k.numpy() for k in some], alpha)
        assert renyi_entropy(*some, alpha=alpha).item() == pytest.approx(expected, rel=1e-6)
    information = renyi_information(x, z, alpha, 1.0, 0.5)
    k, other = gaussian_kernel(x, 1.0).numpy(), gaussian_kernel(z, 0.5).numpy()
    expected = slow_entropy([k], alpha) + slow_entropy([other], alpha)
    expected -= slow_entropy([k, other], alpha)
    assert information.nats == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 1, 1.01, 2])
def test_distinct_samples_have_log_n_and_equal_ones_nothing(alpha):
    assert renyi_entropy(torch.eye(16), alpha=alpha).item() == pytest.approx(math.log(16), rel=1e-5)
    assert renyi_entropy(torch.ones(16, 16).double(), alpha=alpha).item() == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("alpha", [1, 1.01, 2])
def test_far_clusters_have_the_entropy_of_their_number(classes, alpha):
    target = Clusters(classes, spacing=100.0)
    x, z = target.sample(60)
    estimate = renyi_information(x, z, alpha, 1.0, 1.0)
    assert estimate.nats == pytest.approx(target.information, abs=1e-9)
    assert estimate.diagnostics["entropy_x"] == pytest.approx(target.information, abs=1e-9)
    halves = torch.arange(60.0)[:, None] // 30 * 100
    assert renyi_information(x, halves, alpha, 1.0, 1.0).nats == pytest.approx(0, abs=1e-9)


def test_orders_near_one_approach_one():
    k = gaussian_kernel(CorrelatedGaussians().sample(30)[0], 0.5)
    near, limit = (renyi_entropy(k, alpha=alpha).item() for alpha in (1 + 1e-6, 1))
    assert near == pytest.approx(limit, abs=1e-5)
    falling = [renyi_entropy(k, alpha=alpha).item() for alpha in (0.5, 1, 2, 4.0)]
    assert falling == sorted(falling, reverse=True)


def test_more_dependent_samples_share_more():
    values = [renyi_information(*CorrelatedGaussians(r).sample(200)).nats for r in (0, 0.5, 0.9)]
    assert values == sorted(values)


def test_the_bandwidth_decides_and_is_reported():
    x, z = CorrelatedGaussians().sample(50)
    fine = renyi_information(x, z, bandwidth_x=1e-6, bandwidth_z=1e-6)
    assert fine.nats == pytest.approx(fine.ceiling)
    assert fine.diagnostics["saturated"]
    coarse = renyi_information(x, z, bandwidth_x=1e6, bandwidth_z=1e6)
    assert coarse.nats == pytest.approx(0, abs=1e-6)
    own = renyi_information(x, z).diagnostics
    assert own["bandwidth_x"] == pytest.approx(x.std().item() * 50**-0.2)
    assert not own["saturated"]


def test_several_are_measured_at_once_and_have_gradients():
    x = torch.randn(3, 8, 2, dtype=torch.float64, generator=generator(0))
    values = renyi_entropy(gaussian_kernel(x, 1.0))
    assert values.shape == (3,)
    assert values[2].item() == pytest.approx(renyi_entropy(gaussian_kernel(x[2], 1.0)).item())
    for alpha in (1.01, 2):
        assert torch.autograd.gradcheck(
            lambda x: renyi_entropy(gaussian_kernel(x, 1.0), alpha=alpha),  # noqa: B023
            x[0].clone().requires_grad_(),
        )


@pytest.mark.parametrize(
    ("kernels", "message"),
    [
        ((), "at least one kernel"),
        ((torch.ones(3, 4),), r"\[..., n, n\]"),
        ((torch.eye(3), torch.eye(4)), "of the same samples"),
        ((torch.zeros(3, 3),), "a smallest of 0"),
    ],
)
def test_what_is_no_kernel_is_refused(kernels, message):
    with pytest.raises(InputError, match=message):
        renyi_entropy(*kernels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha must be finite and larger than 0"),
        ({"alpha": math.nan}, "alpha must be finite and larger than 0"),
        ({"bandwidth_x": -1.0}, "bandwidth must be finite, larger than 0"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    x = torch.arange(5.0)[:, None]
    with pytest.raises(InputError, match=message):
        renyi_information(**({"x": x, "z": x} | change))


def test_constant_samples_have_no_entropy_and_share_nothing():
    x = torch.randn(30, 2, generator=generator(0))
    for pair in ((x, torch.ones(30, 3)), (torch.ones(30, 1), x), (torch.ones(30, 1),) * 2):
        found = renyi_information(*pair)
        assert found.nats == pytest.approx(0, abs=1e-9)
        assert found.diagnostics["constant_columns"] > 0


def test_units_change_nothing_without_a_bandwidth():
    x = torch.randn(50, 2, dtype=torch.float64, generator=generator(0))
    z = x + torch.randn(50, 2, dtype=torch.float64, generator=generator(1))
    plain = renyi_information(x, z).nats
    for factor in (1e-200, 1e-6, 10, 1e6, 1e140):
        assert renyi_information(factor * x, z).nats == pytest.approx(plain, rel=1e-9)
