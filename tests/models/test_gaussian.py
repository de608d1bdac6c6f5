import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from narrows.errors import InputError
from narrows.models.gaussian import draw, kl_to_standard_normal, split_parameters
from narrows.types import Latent


def parameters(n=6, size=3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(n, size, generator=generator, dtype=torch.float64)
    return mean, torch.rand(n, size, generator=generator, dtype=torch.float64) + 0.05


def test_the_divergence_is_that_of_torch_distributions():
    mean, scale = parameters()
    oracle = kl_divergence(Normal(mean, scale), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(Latent(mean, mean, scale)), oracle)


def test_the_divergence_is_the_mean_log_ratio_of_draws():
    mean, scale = parameters()
    torch.manual_seed(0)
    posterior = Normal(mean, scale)
    z = posterior.sample((200_000,))
    log_ratio = (posterior.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1)
    error = log_ratio.std(0) / 200_000**0.5
    difference = kl_to_standard_normal(Latent(mean, mean, scale)) - log_ratio.mean(0)
    assert (difference.abs() < 4 * error).all()


def test_a_standard_normal_posterior_has_no_divergence():
    mean = torch.zeros(2, 3)
    assert kl_to_standard_normal(Latent(mean, mean, torch.ones(2, 3))).tolist() == [0.0, 0.0]


def test_a_full_covariance_is_given_by_its_cholesky_factor():
    mean, scale = parameters()
    generator = torch.Generator().manual_seed(1)
    factor = torch.randn(6, 3, 3, generator=generator, dtype=torch.float64).tril(-1)
    factor = factor + torch.diag_embed(scale)
    prior = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    oracle = kl_divergence(MultivariateNormal(mean, scale_tril=factor), prior)
    torch.testing.assert_close(kl_to_standard_normal(Latent(mean, mean, factor)), oracle)


def test_a_deterministic_latent_has_no_divergence():
    mean = torch.zeros(2, 3)
    with pytest.raises(InputError, match="infinite"):
        kl_to_standard_normal(Latent(mean, mean))


def test_the_scale_starts_near_zero_and_stays_positive():
    mean, scale = split_parameters(torch.tensor([[2.0, -50.0, 0.0, 5.0]]))
    assert mean.tolist() == [[2.0, -50.0]]
    assert scale[0, 0].item() == pytest.approx(0.00671535, rel=1e-5)
    assert scale[0, 1].item() == pytest.approx(0.6931472, rel=1e-6)
    assert split_parameters(torch.tensor([[0.0, -60.0]]))[1].item() > 0


def test_a_draw_is_mean_plus_scale_times_noise_and_can_be_differentiated():
    mean, scale = (tensor.requires_grad_() for tensor in parameters())
    torch.manual_seed(2)
    z = draw(mean, scale, samples=4)
    torch.manual_seed(2)
    noise = torch.randn(4, 6, 3, dtype=torch.float64)
    torch.testing.assert_close(z, mean + scale * noise)
    z.sum().backward()
    torch.testing.assert_close(mean.grad, torch.full((6, 3), 4.0).double())
    torch.testing.assert_close(scale.grad, noise.sum(0))
