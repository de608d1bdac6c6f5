import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from narrows import VIB, Bottleneck, tap
from narrows.errors import ConfigError, InputError
from narrows.models.gaussian import code_width
from narrows.types import Batch, Latent, ModelOutput


def make(samples=None) -> Bottleneck:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Bottleneck(nn.Linear(4, 6), nn.Linear(3, 2), latent="gaussian", samples=samples)
    return model.double()


def batch(n=16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 4, generator=generator, dtype=torch.float64)
    return Batch(x, (x[:, 0] > x[:, 1]).long())


def test_the_rate_is_the_divergence_to_the_marginal():
    model, (x, y) = make(), batch()
    method = VIB(beta=0.1).double()
    output = method.observe(model, Batch(x, y))
    value, weight = method.regulariser(output, Batch(x, y))["rate"]
    posterior = Normal(output.latent.mean, output.latent.scale)
    oracle = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(value, oracle)
    assert weight.item() == pytest.approx(0.1, rel=1e-7)


def test_the_loss_of_one_input_by_hand():
    # z = mean = 1 (scale e^-1, its noise held at zero), logits (2, 0), label 0.
    latent = Latent(torch.ones(1, 1), torch.ones(1, 1), torch.full((1, 1), math.exp(-1)))
    output = ModelOutput(torch.tensor([[2.0, 0.0]]), latent)
    terms = VIB(beta=0.5).terms(output, Batch(torch.zeros(1, 1), torch.tensor([0])))
    assert terms.prediction.item() == pytest.approx(math.log(1 + math.exp(-2)))
    rate = (1 + math.exp(-2) - 1) / 2 + 1
    assert terms.regularisers["rate"].value.item() == pytest.approx(rate)
    assert terms.total.item() == pytest.approx(math.log(1 + math.exp(-2)) + 0.5 * rate)


def test_the_loss_is_that_of_the_equation_draw_by_draw():
    model, (x, y) = make(samples=5), batch()
    method = VIB(beta=0.25).double()
    torch.manual_seed(2)
    loss = method(model, x, y)
    torch.manual_seed(2)
    noise = torch.randn(5, 16, 3, dtype=torch.float64)
    total = 0.0
    for i in range(16):
        code = model.encoder(x[i])
        mean, scale = code[:3], torch.log1p(torch.exp(code[3:] - 5))
        for s in range(5):
            logits = model.decoder(mean + scale * noise[s, i])
            total -= torch.log_softmax(logits, 0)[y[i]] / (5 * 16)
        total += 0.25 * 0.5 * (mean**2 + scale**2 - 1 - 2 * torch.log(scale)).sum() / 16
    torch.testing.assert_close(loss, total)


@pytest.mark.parametrize("latent", ["full", "cholesky", "unit", "shared"])
def test_the_covariance_may_be_of_any_form(latent):
    torch.manual_seed(0)
    encoder = nn.Linear(4, code_width(latent, 3))
    model, (x, y) = Bottleneck(encoder, nn.Linear(3, 2), latent=latent).double(), batch()
    output = model(x)
    value, _ = VIB(beta=0.1).double().regulariser(output, Batch(x, y))["rate"]
    scale = output.latent.scale
    factor = scale if scale.dim() == 3 else torch.diag_embed(scale)
    posterior = MultivariateNormal(output.latent.mean, scale_tril=factor)
    prior = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    torch.testing.assert_close(value, kl_divergence(posterior, prior).mean())
    VIB(beta=0.1).double()(model, x, y).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_a_heavy_weight_makes_every_posterior_the_marginal():
    torch.manual_seed(0)
    model, method, (x, y) = make(), VIB(beta=10.0).double(), batch(64)
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(400):
        optimiser.zero_grad()
        method(model, x, y).backward()
        optimiser.step()
    latent = model(x).latent
    assert latent.mean.abs().max() < 0.05
    assert (latent.scale.mean() - 1).abs() < 0.05


def test_a_training_loop_of_ones_own_learns():
    torch.manual_seed(0)
    model, method, (x, y) = make(), VIB(beta=1e-3).double(), batch(64)
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(100):
        optimiser.zero_grad()
        method(model, x, y).backward()
        optimiser.step()
    model.mode = "mean"
    assert (model(x).logits.argmax(1) == y).double().mean() > 0.95


def test_a_latent_without_a_distribution_is_refused():
    method, (x, y) = VIB(beta=0.1).double(), batch()
    with pytest.raises(InputError, match="latent='gaussian'"):
        method(Bottleneck(nn.Linear(4, 3), nn.Linear(3, 2)).double(), x, y)
    with pytest.raises(InputError, match="latent='gaussian'"):
        method(tap(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).double(), [], latent="0"), x, y)


def test_several_draws_are_averaged_in_the_loss_and_cost_no_rate():
    torch.manual_seed(0)
    model, (x, y) = make(), batch(6)
    method = VIB(beta=0.1, samples=4000).double()
    assert "samples=4000" in repr(method)
    several = method(model, x, y)
    once = [VIB(beta=0.1).double()(model, x, y).item() for _ in range(4000)]
    spread = torch.tensor(once).std().item() / math.sqrt(4000)
    assert abs(several.item() - sum(once) / len(once)) < 5 * math.sqrt(2) * spread
    assert model.samples is None
    with pytest.raises(ConfigError, match="samples must be at least 1"):
        VIB(samples=0)
