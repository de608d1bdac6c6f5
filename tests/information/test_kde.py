import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode

from narrows.errors import InputError
from narrows.information import kde_bounds, kde_relevance
from narrows.information._pairs import error_samples
from scenarios import GaussianChannel, TwoGaussians, generator


def codes(n=30, k=11, seed=0):
    """More coordinates than the fast path takes the logarithm of at once, and not a multiple."""
    draw = generator(seed)
    mean = torch.randn(n, k, dtype=torch.float64, generator=draw)
    return mean, 0.3 + torch.rand(n, k, dtype=torch.float64, generator=draw)


def kl(mean, scale, i, j):
    return kl_divergence(Normal(mean[i], scale[i]), Normal(mean[j], scale[j])).sum().item()


def bhattacharyya(mean, scale, i, j):
    """-log of the integral of sqrt(p q), coordinate by coordinate, on a grid."""
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    p, q = (Normal(mean[row], scale[row]).log_prob(grid) for row in (i, j))
    return -torch.trapezoid((0.5 * (p + q)).exp(), grid[:, 0], dim=0).log().sum().item()


def slow_bound(mean, scale, distance):
    n = len(mean)
    total = 0.0
    for i in range(n):
        total -= math.log(sum(math.exp(-distance(mean, scale, i, j)) for j in range(n)) / n) / n
    return total


def slow_relevance(mean, scale, y, whole, within):
    total = slow_bound(mean, scale, whole)
    for label in set(y.tolist()):
        own = y == label
        total -= own.double().mean().item() * slow_bound(mean[own], scale[own], within)
    return total


def test_the_bounds_equal_their_definition():
    mean, scale = codes()
    lower, upper = kde_bounds(mean, scale)
    assert lower.nats == pytest.approx(slow_bound(mean, scale, bhattacharyya), rel=1e-6)
    assert upper.nats == pytest.approx(slow_bound(mean, scale, kl), rel=1e-10)


def test_the_bounds_with_one_noise_for_all_equal_their_definition():
    mean, _ = codes(k=3)
    scale = torch.full_like(mean, 0.7)
    for estimates in (kde_bounds(mean, 0.7), kde_bounds(mean, scale)):
        assert estimates[0].nats == pytest.approx(slow_bound(mean, scale, bhattacharyya), rel=1e-6)
        assert estimates[1].nats == pytest.approx(slow_bound(mean, scale, kl), rel=1e-10)


def test_nearly_equal_scales_take_the_general_path_to_the_same_result():
    mean, _ = codes()
    scale = torch.full_like(mean, 0.7)
    scale[0, 0] += 1e-12
    for general, shared in zip(kde_bounds(mean, scale), kde_bounds(mean, 0.7), strict=True):
        assert general.nats == pytest.approx(shared.nats, rel=1e-9)
        assert general.std_error == pytest.approx(shared.std_error, rel=1e-9)


def test_the_relevance_bounds_equal_their_definition():
    mean, scale = codes(n=15, k=2)
    y = torch.arange(15) % 3
    lower, upper = kde_relevance(mean, scale, y)
    expected = slow_relevance(mean, scale, y, bhattacharyya, kl)
    assert lower.nats == pytest.approx(expected, rel=1e-6)
    expected = slow_relevance(mean, scale, y, kl, bhattacharyya)
    assert upper.nats == pytest.approx(expected, rel=1e-6)
    same = slow_relevance(mean, scale, y, kl, kl)
    assert upper.diagnostics["same_distance"] == pytest.approx(same, rel=1e-6)
    same = slow_relevance(mean, scale, y, bhattacharyya, bhattacharyya)
    assert lower.diagnostics["same_distance"] == pytest.approx(same, rel=1e-6)


@pytest.mark.parametrize("block", [1, 7, 30, 1000])
@pytest.mark.parametrize("shared", [True, False])
def test_blocks_change_nothing(block, shared):
    mean, scale = codes()
    scale = 0.5 if shared else scale
    for one, other in zip(kde_bounds(mean, scale, block), kde_bounds(mean, scale), strict=True):
        assert one.nats == pytest.approx(other.nats, rel=1e-12)
        assert one.std_error == pytest.approx(other.std_error, rel=1e-9)


def test_the_noise_of_overlapping_codes_is_bounded_on_both_sides():
    """Two codes whose true information is known: a balanced bit in Gaussian noise."""
    for offset in (0.1, 0.5, 1.0, 2.0, 5.0):
        target = TwoGaussians(offset)
        mean, _, y = target.sample(40)
        lower, upper = kde_bounds(mean, target.noise)
        assert lower.nats <= target.information <= upper.nats
        # Within a class all codes are the same, so the two quantities coincide.
        for whole, part in zip((lower, upper), kde_relevance(mean, 1.0, y), strict=True):
            assert part.nats == pytest.approx(whole.nats, abs=1e-12)


@pytest.mark.parametrize("shared", [True, False])
def test_the_standard_error_is_the_spread_over_fresh_samples(shared):
    channel = GaussianChannel(d=2)
    values, errors = [], []
    for seed in range(120):
        x = channel.sample(150, seed)
        scale = 1.0 if shared else 1 + 0.2 * x.abs()
        y = (x[:, 0] > 0).long()
        estimates = [*kde_bounds(x, scale), *kde_relevance(x, scale, y)]
        values.append([estimate.nats for estimate in estimates])
        errors.append([estimate.std_error for estimate in estimates])
    spread, claimed = torch.tensor(values).std(0), torch.tensor(errors).mean(0)
    assert torch.allclose(claimed, spread, rtol=0.25)


def weighted(similarity, weight):
    """The bound as a function of how much each sample weighs, `[n]`, summing to any total."""
    weight = weight / weight.sum()
    return -(weight * (similarity @ weight).log()).sum()


@pytest.mark.parametrize("shared", [True, False])
def test_the_standard_error_is_that_of_changing_the_weight_of_each_sample(shared):
    mean, scale = codes(n=16, k=2)
    scale = torch.full_like(mean, 0.5) if shared else scale
    y = (mean[:, 0] > 0.5).long()
    alike, towards = (
        torch.tensor([[math.exp(-d(mean, scale, i, j)) for j in range(16)] for i in range(16)])
        for d in (bhattacharyya, kl)
    )
    estimates = [*kde_bounds(mean, scale), *kde_relevance(mean, scale, y)]
    parts = [(alike, None), (towards, None), (alike, towards), (towards, alike)]
    for estimate, (whole, within) in zip(estimates, parts, strict=True):
        weight = torch.full((16,), 1 / 16, requires_grad=True)
        value = weighted(whole, weight)
        if within is not None:
            for own in (y == 0, y == 1):
                share = weight[own].sum() / weight.sum()
                value = value - share * weighted(within[own][:, own], weight[own])
        assert value.item() == pytest.approx(estimate.nats, rel=1e-4)
        (influence,) = torch.autograd.grad(value, weight)
        assert estimate.std_error == pytest.approx(influence.std().item() / 4, rel=1e-3)


def test_many_samples_take_the_standard_error_from_some_of_them():
    channel = GaussianChannel(d=1)
    few, many = (kde_bounds(channel.sample(n), 1.0)[1] for n in (1000, 3000))
    assert many.std_error == pytest.approx(few.std_error / math.sqrt(3), rel=0.2)


def test_far_codes_saturate_at_the_logarithm_of_their_number():
    far = 1000 * torch.arange(50.0)[:, None]
    for estimate in kde_bounds(far, 1.0):
        assert estimate.nats == pytest.approx(math.log(50))
        assert estimate.ceiling == pytest.approx(math.log(50))
        assert estimate.diagnostics["saturated"]
    assert not kde_bounds(far, 1e5)[0].diagnostics["saturated"]
    for estimate in kde_relevance(far, 1.0, torch.arange(50) % 2):
        assert estimate.nats == pytest.approx(math.log(2))
        assert estimate.diagnostics["label_entropy"] == pytest.approx(math.log(2))


def test_equal_codes_carry_nothing():
    for estimate in kde_bounds(torch.ones(9, 4), 0.1):
        assert estimate.nats == pytest.approx(0, abs=1e-12)


def test_a_class_of_one_sample_holds_no_information_within():
    mean, _ = codes(n=5, k=1)
    lower, upper = kde_relevance(mean, 1.0, torch.arange(5))
    assert lower.nats == pytest.approx(kde_bounds(mean, 1.0)[0].nats)
    assert upper.nats == pytest.approx(kde_bounds(mean, 1.0)[1].nats)


def test_the_diagnostics_say_which_noise_and_which_direction():
    mean, scale = codes()
    lower, upper = kde_bounds(mean, 0.5)
    assert (lower.diagnostics["bound"], upper.diagnostics["bound"]) == ("lower", "upper")
    assert lower.diagnostics["noise_scale"] == 0.5
    assert "N(0, 0.5^2 I)" in lower.diagnostics["measures"]
    assert kde_bounds(mean, scale)[0].diagnostics["noise_scale"] is None


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e3, 1e30])
def test_units_do_not_matter(scale):
    mean, own = codes()
    for noise in (0.5, own):
        expected = kde_bounds(mean, noise)
        for one, other in zip(kde_bounds(mean * scale, noise * scale), expected, strict=True):
            assert one.nats == pytest.approx(other.nats, rel=1e-9)


@pytest.mark.parametrize("shared", [True, False])
def test_codes_far_from_the_origin_lose_no_accuracy(shared):
    mean, scale = codes()
    scale = 0.5 if shared else scale
    for near, far in zip(kde_bounds(mean, scale), kde_bounds(mean + 1e6, scale), strict=True):
        assert far.nats == pytest.approx(near.nats, rel=1e-7)


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


@pytest.mark.parametrize("shared", [True, False])
def test_memory_grows_with_the_block_and_not_with_the_square_of_the_samples(shared):
    mean, scale = codes(n=1500, k=2)
    with Largest() as largest:
        kde_bounds(mean, 0.5 if shared else scale, block=16)
    assert 16 * 1500 <= largest.elements <= 17 * 1500


def test_a_full_covariance_and_an_empty_block_are_refused():
    mean, scale = codes()
    with pytest.raises(InputError, match=r"a number or \[30, 11\], got \[30, 11, 11\]"):
        kde_bounds(mean, scale.diag_embed())
    with pytest.raises(InputError, match="block must be at least 1"):
        kde_bounds(mean, 1.0, block=0)


@pytest.mark.parametrize("period", [2, 3, 8, 10])
def test_samples_of_the_standard_error_share_no_period_with_the_labels(period):
    chosen = error_samples(torch.zeros(2000, 1))
    shares = torch.bincount(torch.arange(2000)[chosen] % period) / chosen.sum()
    assert abs(int(chosen.sum()) - 250) <= 2
    assert shares.tolist() == pytest.approx([1 / period] * period, rel=0.2)
    assert error_samples(torch.zeros(250, 1)).all()
