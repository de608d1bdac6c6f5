import math

import pytest
import torch

from narrows.errors import ConfigError, InputError
from narrows.information import cka, gaussian_kernel, hsic, linear_kernel, normalise_kernel
from scenarios import generator

KINDS = ("biased", "unbiased", "normalised")
every = pytest.mark.parametrize("kind", KINDS)


def samples(m=12, d=3, seed=0):
    return torch.randn(2, m, d, dtype=torch.float64, generator=generator(seed))


def slow_kernel(x, bandwidth):
    m = len(x)
    return torch.tensor(
        [
            [math.exp(-((x[i] - x[j]) ** 2).sum().item() / 2 / bandwidth**2) for j in range(m)]
            for i in range(m)
        ],
        dtype=torch.float64,
    )


def textbook(k, other, kind, eps):
    """The formulas with all their matrices; the normalised one as HBaR's code has it."""
    m = len(k)
    one, eye = torch.ones(m, 1, dtype=torch.float64), torch.eye(m, dtype=torch.float64)
    h = eye - one @ one.T / m
    if kind == "biased":
        return (k @ h @ other @ h).trace() / (m - 1) ** 2
    if kind == "normalised":
        k_h, other_h = k @ h, other @ h
        ratio = k_h @ (k_h + eps * m * eye).inverse()
        return (ratio @ other_h @ (other_h + eps * m * eye).inverse()).trace()
    k, other = k * (1 - eye), other * (1 - eye)
    first = (k @ other).trace()
    second = (one.T @ k @ one * (one.T @ other @ one)).item() / (m - 1) / (m - 2)
    third = 2 / (m - 2) * (one.T @ k @ other @ one).item()
    return (first + second - third) / m / (m - 3)


@every
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_it_equals_the_textbook(kind, eps):
    x, z = samples()
    z = z + x.square()
    expected = textbook(slow_kernel(x, 2.0), slow_kernel(z, 0.7), kind, eps).item()
    value = hsic(gaussian_kernel(x, 2.0), gaussian_kernel(z, 0.7), kind, eps)
    assert value.item() == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_the_default_bandwidth_is_five_times_the_root_of_the_columns():
    x = samples(d=16)[0]
    assert torch.allclose(gaussian_kernel(x), slow_kernel(x, 20.0), atol=1e-14)
    assert torch.allclose(linear_kernel(x), x @ x.T)


def test_with_linear_kernels_it_is_the_squared_covariance():
    x, z = samples(m=40)
    z = z + x
    covariance = (x - x.mean(0)).T @ (z - z.mean(0)) / 39
    value = hsic(linear_kernel(x), linear_kernel(z))
    assert value.item() == pytest.approx(covariance.square().sum().item())


def test_unbiased_means_that_its_mean_is_the_truth_and_the_biased_mean_is_above():
    truth = 2 * 0.6**2
    x, other = torch.randn(2, 4000, 8, 2, dtype=torch.float64, generator=generator(1))
    k, both = linear_kernel(x), linear_kernel(0.6 * x + 0.8 * other)
    unbiased, biased = hsic(k, both, "unbiased"), hsic(k, both)
    error = unbiased.std().item() / math.sqrt(4000)
    assert unbiased.mean().item() == pytest.approx(truth, abs=3 * error)
    assert biased.mean().item() > truth + 10 * error
    independent = hsic(k, linear_kernel(other), "unbiased")
    assert abs(independent.mean().item()) < 3 * independent.std().item() / math.sqrt(4000)
    assert independent.min() < 0


@pytest.mark.parametrize(("d", "value"), [(10, 13), (100, 79)])
def test_the_normalised_value_of_independent_samples_is_as_documented(d, value):
    x, z = samples(m=100, d=d)
    kernels = gaussian_kernel(x), gaussian_kernel(z)
    assert hsic(*kernels, "normalised").item() == pytest.approx(value, rel=0.1)
    assert hsic(kernels[0], kernels[0], "normalised") > hsic(*kernels, "normalised")
    assert abs(hsic(*kernels, "unbiased").item()) < 1e-5


@every
def test_several_layers_are_compared_at_once(kind):
    x, z = torch.randn(2, 5, 3, 9, 4, dtype=torch.float64, generator=generator(2))
    kernel, layers = gaussian_kernel(x[0, 0]), gaussian_kernel(z)
    values = hsic(kernel, layers, kind)
    assert values.shape == (5, 3)
    assert values[4, 1].item() == pytest.approx(hsic(kernel, layers[4, 1], kind).item(), abs=1e-14)


@every
def test_gradients_are_those_of_differences_to_the_second_order(kind):
    x, z = samples(m=6, d=2)
    kernel = gaussian_kernel(x, 1.0)

    def loss(z):
        return hsic(kernel, gaussian_kernel(z, 1.0), kind, eps=0.01)

    assert torch.autograd.gradcheck(loss, z.requires_grad_())
    assert torch.autograd.gradgradcheck(loss, z)


@every
def test_it_can_be_mapped_over_members_with_their_gradients(kind):
    x, z = torch.randn(2, 4, 8, 3, dtype=torch.float64, generator=generator(3))

    def loss(x, z):
        return hsic(gaussian_kernel(x), gaussian_kernel(z), kind)

    together = torch.func.vmap(torch.func.grad(loss))(x, z)
    alone = torch.stack([torch.func.grad(loss)(*member) for member in zip(x, z, strict=True)])
    assert torch.allclose(together, alone, atol=1e-14)


@every
def test_single_precision_agrees_with_double(kind):
    x, z = samples(m=100, d=50)
    z = (z + x) * 10 + 1000
    double = hsic(gaussian_kernel(x), gaussian_kernel(z), kind)
    single = hsic(gaussian_kernel(x.float()), gaussian_kernel(z.float()), kind)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(double.item(), rel=2e-3)


def test_one_normalised_kernel_serves_many():
    x, z = samples()
    kernels = gaussian_kernel(x), gaussian_kernel(z)
    shared = (normalise_kernel(kernels[0]) * normalise_kernel(kernels[1])).sum()
    assert shared.item() == pytest.approx(hsic(*kernels, "normalised").item())
    assert normalise_kernel(kernels[0].float()).dtype == torch.float64


def test_alignment_is_a_cosine_that_rotation_and_scale_leave_alone():
    x, z = samples(m=30, d=4)
    rotation = torch.linalg.qr(z[:4]).Q
    k = linear_kernel(x)
    assert cka(k, linear_kernel(7 * x @ rotation)).item() == pytest.approx(1)
    assert 0 < cka(k, linear_kernel(z)).item() < 0.5


def test_a_constant_layer_depends_on_nothing():
    k, flat = gaussian_kernel(samples()[0]), gaussian_kernel(torch.ones(12, 3).double())
    for kind in KINDS:
        assert hsic(k, flat, kind).item() == pytest.approx(0, abs=1e-12)


def test_what_are_no_kernels_of_the_same_samples_is_refused():
    k = torch.eye(5)
    for other in (torch.eye(4), torch.ones(5, 4), torch.ones(5)):
        with pytest.raises(InputError, match=r"two kernels \[..., m, m\] of the same samples"):
            hsic(k, other)
    with pytest.raises(InputError, match="at least 4 samples, got 3"):
        hsic(torch.eye(3), torch.eye(3), "unbiased")
    with pytest.raises(InputError, match="at least 2 samples, got 1"):
        hsic(torch.eye(1), torch.eye(1))
    with pytest.raises(ConfigError, match="kind must be one of biased"):
        hsic(k, k, "linear")
    with pytest.raises(InputError, match="eps must be finite and larger than 0"):
        hsic(k, k, "normalised", eps=0.0)


@pytest.mark.parametrize("x", [torch.ones(3), torch.ones(0, 2), torch.ones(3, 2).cfloat()])
def test_what_are_no_samples_is_refused(x):
    for kernel in (gaussian_kernel, linear_kernel):
        with pytest.raises(InputError, match=r"samples \[..., m, D\]|real numbers"):
            kernel(x)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_bandwidth_is_refused(bandwidth):
    with pytest.raises(InputError, match="bandwidth must be finite, larger than 0"):
        gaussian_kernel(torch.ones(3, 2), bandwidth)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernels_of_half_precision_are_computed_in_single(dtype):
    x = samples()[0].to(dtype)
    for kernel in (gaussian_kernel, linear_kernel):
        assert torch.equal(kernel(x), kernel(x.float()))
    k = gaussian_kernel(x, 0.3).to(dtype)
    for measure in (hsic, cka):
        assert torch.equal(measure(k, k), measure(k.float(), k.float()))


def test_autocast_changes_no_kernel_and_no_gradient():
    x = samples()[0].float().requires_grad_()
    plain = gaussian_kernel(x, 0.3).square().sum()
    (expected,) = torch.autograd.grad(plain, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = gaussian_kernel(x, 0.3).square().sum()
        (gradient,) = torch.autograd.grad(rounded, x)
        assert linear_kernel(x).dtype == torch.float32
    assert torch.equal(rounded, plain)
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize("bandwidth", [1e-200, 1e-30, 1e-10])
def test_the_narrowest_kernel_tells_every_sample_apart(bandwidth):
    x = samples()[0].float()
    assert torch.equal(gaussian_kernel(x, bandwidth), torch.eye(len(x)))
    assert torch.equal(gaussian_kernel(x, 1e150), torch.ones(len(x), len(x)))
