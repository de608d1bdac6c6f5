import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from narrows import CEB, VIB, Bottleneck, tap
from narrows.errors import ConfigError, InputError
from narrows.types import Batch, Latent, ModelOutput


def make(latent="unit", samples=None) -> Bottleneck:
    width = {"unit": 3, "gaussian": 6, "full": 9}[latent]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Bottleneck(nn.Linear(4, width), nn.Linear(3, 2), latent=latent, samples=samples)
    return model.double()


def method(beta=0.25) -> CEB:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return CEB(beta, latent=3, classes=2).double()


def batch(n=16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 4, generator=generator, dtype=torch.float64)
    return Batch(x, (x[:, 0] > x[:, 1]).long())


def test_the_loss_is_that_of_the_equation_input_by_input():
    model, (x, y), ceb = make(samples=5), batch(), method()
    torch.manual_seed(2)
    loss = ceb(model, x, y)
    torch.manual_seed(2)
    noise = torch.randn(5, 16, 3, dtype=torch.float64)
    weight = ceb.class_means.T  # W: [K, classes]
    total = 0.0
    for i in range(16):
        mean = model.encoder(x[i])
        one_hot = torch.eye(2, dtype=torch.float64)[y[i]]
        for s in range(5):
            total -= torch.log_softmax(model.decoder(mean + noise[s, i]), 0)[y[i]] / (5 * 16)
        total += 0.25 * 0.5 * ((mean - weight @ one_hot) ** 2).sum() / 16
    torch.testing.assert_close(loss, total)


def test_the_term_is_the_mean_log_ratio_of_equation_3():
    model, data, ceb = make(samples=100_000), batch(4), method()
    torch.manual_seed(2)
    latent = model.encode(data.x)
    prior = Normal(ceb.class_means[data.y], 1.0)
    ratio = Normal(latent.mean, 1.0).log_prob(latent.z) - prior.log_prob(latent.z)
    ratio = ratio.sum(-1).mean(1)
    value = ceb.regulariser(ModelOutput(latent.z, latent), data)["residual_information"].value
    error = ratio.std().item() / 100_000**0.5
    assert value.item() == pytest.approx(ratio.mean().item(), abs=4 * error)


@pytest.mark.parametrize("kind", ["gaussian", "full"])
def test_any_gaussian_latent_has_its_divergence_to_the_marginal_of_its_class(kind):
    model, data, ceb = make(kind), batch(), method()
    latent = model(data.x).latent
    factor = torch.diag_embed(latent.scale) if kind == "gaussian" else latent.scale
    prior = MultivariateNormal(ceb.class_means[data.y], torch.eye(3, dtype=torch.float64))
    oracle = kl_divergence(MultivariateNormal(latent.mean, scale_tril=factor), prior).mean()
    value = ceb.regulariser(model(data.x), data)["residual_information"].value
    torch.testing.assert_close(value, oracle)


def test_with_every_class_mean_at_zero_it_is_vib():
    model, data, ceb = make("gaussian"), batch(), method()
    nn.init.zeros_(ceb.class_means)
    torch.manual_seed(0)
    own = ceb(model, *data)
    torch.manual_seed(0)
    torch.testing.assert_close(own, VIB(beta=0.25).double()(model, *data))


def test_a_code_that_is_its_class_mean_leaves_no_residual():
    ceb, y = method(), torch.tensor([0, 1, 1])
    mean = ceb.class_means[y]
    output = ModelOutput(mean, Latent(mean, mean, torch.ones_like(mean)))
    assert ceb.regulariser(output, Batch(mean, y))["residual_information"].value.item() == 0.0


def test_a_training_loop_of_ones_own_learns_at_a_weight_that_would_collapse_vib():
    torch.manual_seed(0)
    model, ceb, (x, y) = make(), method(beta=1.0), batch(64)
    optimiser = torch.optim.Adam([*model.parameters(), *ceb.parameters()], 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        ceb(model, x, y).backward()
        optimiser.step()
    model.mode = "mean"
    assert (model(x).logits.argmax(1) == y).double().mean() > 0.95


def test_beta_is_the_exponential_of_minus_rho():
    assert CEB.from_rho(3, latent=3, classes=2).beta.item() == pytest.approx(math.exp(-3))
    assert CEB.from_rho(0, latent=3, classes=2).beta.item() == 1.0


def test_what_does_not_fit_is_refused():
    ceb, (x, y) = method(), batch()
    with pytest.raises(InputError, match="latent='unit'"):
        ceb(Bottleneck(nn.Linear(4, 3), nn.Linear(3, 2)).double(), x, y)
    with pytest.raises(InputError, match="latent='unit'"):
        ceb(tap(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).double(), [], latent="0"), x, y)
    with pytest.raises(InputError, match="codes of 3, got 2"):
        ceb(Bottleneck(nn.Linear(4, 2), nn.Linear(2, 2), latent="unit").double(), x, y)
    with pytest.raises(ConfigError, match="got latent=3, classes=1"):
        CEB(0.1, latent=3, classes=1)
