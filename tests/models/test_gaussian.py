import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from narrows.errors import InputError
from narrows.models import Bottleneck
from narrows.models.gaussian import (
    cholesky_parameters,
    code_width,
    draw,
    kl_to_standard_normal,
    split_parameters,
)
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


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_cholesky_factor_is_read_row_by_row(size):
    torch.manual_seed(0)
    raw = torch.randn(4, code_width("full", size), dtype=torch.float64)
    mean, factor = cholesky_parameters(raw)
    for image in range(4):
        entries = list(raw[image])
        expected = [entries.pop(0) for _ in range(size)]
        assert mean[image].tolist() == expected
        diagonal = [torch.log1p(torch.exp(entries.pop(0) - 5)) for _ in range(size)]
        for row in range(size):
            for column in range(size):
                below = diagonal[row] * entries.pop(0) if column < row else torch.tensor(0.0)
                wanted = diagonal[row] if column == row else below
                assert factor[image, row, column].item() == pytest.approx(wanted.item(), rel=1e-12)


def test_a_plain_cholesky_factor_has_the_numbers_of_the_network_below_its_diagonal():
    raw = torch.tensor([[0.3, -0.2, -1.0, 2.0, -7.0]], dtype=torch.float64)
    mean, factor = cholesky_parameters(raw, "cholesky")
    assert mean.tolist() == [[0.3, -0.2]]
    by_hand = [[math.log1p(math.exp(-1.0)), 0.0], [-7.0, math.log1p(math.exp(2.0))]]
    torch.testing.assert_close(factor[0], torch.tensor(by_hand, dtype=torch.float64))
    assert code_width("cholesky", 2) == 5


def test_draws_of_a_full_covariance_have_it():
    torch.manual_seed(0)
    factor = torch.tensor([[[1.0, 0.0], [-0.8, 0.6]], [[2.0, 0.0], [0.5, 0.1]]]).double()
    mean = torch.tensor([[1.0, -1.0], [0.0, 3.0]]).double()
    z = draw(mean, factor, 100_000)
    assert z.shape == (100_000, 2, 2)
    for image in range(2):
        covariance = z[:, image].T.cov()
        torch.testing.assert_close(
            covariance, factor[image] @ factor[image].T, atol=0.05, rtol=0.02
        )
    torch.testing.assert_close(z.mean(0), mean, atol=0.03, rtol=0)
    assert draw(mean, factor).shape == (2, 2)


@pytest.mark.parametrize("features", [1, 3, 4, 6, 8])
def test_features_that_are_no_triangle_are_refused(features):
    with pytest.raises(InputError, match=f"got {features}"):
        cholesky_parameters(torch.rand(2, features))


class Constant(nn.Module):
    """An encoder whose output is a parameter."""

    def __init__(self, values):
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, x):
        return self.values.expand(len(x), -1)


def rate_of(latent: str, values: list[float], kind: torch.dtype = torch.float32) -> Bottleneck:
    return Bottleneck(Constant(values), nn.Linear(2, 2), latent=latent).to(kind)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("latent", ["gaussian", "full"])
@pytest.mark.parametrize("raw", [-1000.0, -104.0, -100.0, -98.0, -76.0, -75.0, -20.0, 0.0, 1000.0])
def test_a_rate_and_its_gradient_are_right_at_any_scale(latent, raw, kind):
    extra = [0.0] if latent == "full" else []
    model = rate_of(latent, [0.5, -0.5, raw, raw, *extra], kind)
    output = model(torch.zeros(1, 2, dtype=kind)).latent
    kl_to_standard_normal(output).sum().backward()
    # In arithmetic without limits: log softplus(t) is t where t is very negative.
    t = model.encoder.values.detach().double()[2].item() - 5
    scale = math.log1p(math.exp(t)) if t < 700 else t
    log_scale = math.log(scale) if t > -700 else t
    slope = (1 / (1 + math.exp(-t)) if t > -700 else 0.0) * scale
    slope -= 1 / (1 + math.exp(-t)) / scale if t > -30 else 1.0
    expected = 2 * (0.5 * (0.25 + scale**2 - 1) - log_scale)
    loose = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}[kind]
    assert kl_to_standard_normal(output).item() == pytest.approx(expected, rel=loose)
    for gradient in model.encoder.values.grad[2:4].tolist():
        assert gradient == pytest.approx(slope, rel=2 * loose)


@pytest.mark.parametrize("raw", [-1000.0, -170.0, -100.0, 0.5, 1000.0])
def test_one_learned_scale_has_a_finite_rate_wherever_it_goes(raw):
    model = rate_of("shared", [0.5, -0.5])
    nn.init.constant_(model.raw_variance, raw)
    value = kl_to_standard_normal(model(torch.zeros(1, 2)).latent).sum()
    value.backward()
    variance = math.log1p(math.exp(raw)) if raw < 700 else raw
    log_variance = math.log(variance) if raw > -700 else raw
    assert value.item() == pytest.approx(0.25 + variance - 1 - log_variance, rel=1e-5)
    slope = 1 / (1 + math.exp(-raw)) if raw > -700 else 0.0
    expected = slope - (slope / variance if raw > -30 else 1.0)
    assert model.raw_variance.grad.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("latent", ["gaussian", "full", "cholesky", "shared", "unit"])
def test_the_logarithm_that_a_model_knows_is_that_of_its_scale(latent):
    torch.manual_seed(0)
    model = Bottleneck(nn.Linear(4, code_width(latent, 3)), nn.Linear(3, 2), latent=latent).double()
    latent = model(torch.rand(5, 4).double()).latent
    known = kl_to_standard_normal(latent)
    assert torch.equal(known, kl_to_standard_normal(latent._replace(log_scale=None)))
