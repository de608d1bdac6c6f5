import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from narrows import BetaVAE, Bottleneck
from narrows.errors import ConfigError, InputError
from narrows.methods import METHODS, Sizes
from narrows.methods.adversarial import PGDTraining
from narrows.models.noise import noise_from
from narrows.types import Batch


def make(samples=None) -> Bottleneck:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Bottleneck(nn.Linear(4, 6), nn.Linear(3, 4), latent="gaussian", samples=samples)
    return model.double()


def images(n=7) -> torch.Tensor:
    return torch.rand(n, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_loss_is_that_of_the_equation_pixel_by_pixel(likelihood):
    model, x, draws = make(samples=3), images(), 3
    method = BetaVAE(4.0, likelihood, variance=0.3).double()
    torch.manual_seed(2)
    loss = method(model, x)
    torch.manual_seed(2)
    noise = torch.randn(draws, 7, 3, dtype=torch.float64)
    total = 0.0
    for i in range(7):
        code = model.encoder(x[i])
        mean, scale = code[:3], torch.log1p(torch.exp(code[3:] - 5))
        for s in range(draws):
            decoded = model.decoder(mean + scale * noise[s, i])
            for pixel, value in zip(decoded, x[i], strict=True):
                if likelihood == "bernoulli":
                    p = 1 / (1 + torch.exp(-pixel))
                    nats = -value * torch.log(p) - (1 - value) * torch.log(1 - p)
                else:
                    nats = (value - pixel) ** 2 / 0.6 + 0.5 * math.log(2 * math.pi * 0.3)
                total = total + nats / (7 * draws)
        rate = 0.5 * (mean**2 + scale**2 - 1 - 2 * torch.log(scale)).sum()
        total = total + 4.0 * rate / 7
    torch.testing.assert_close(loss, total)
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


class SigmaPoints:
    """In place of noise, 2 K points of mean 0 and covariance I: quadratics are averaged exactly."""

    def normal(self, shape, like):
        draws, _, size = shape
        assert draws == 2 * size
        points = math.sqrt(size) * torch.eye(size, dtype=like.dtype)
        return torch.cat([points, -points])[:, None].expand(*shape)


def correlated(n=400) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    mixing = torch.randn(5, 5, dtype=torch.float64, generator=generator)
    spread = torch.tensor([2.0, 1.2, 0.5, 0.3, 0.2], dtype=torch.float64)
    axes = torch.linalg.qr(mixing).Q
    return torch.randn(n, 5, dtype=torch.float64, generator=generator) * spread @ axes.T + 0.5


def probabilistic_pca(x: torch.Tensor, size: int, variance: float):
    """The principal axes `[D, K]` and the mean -log p(x) of the best model with W W' + variance I.

    Tipping & Bishop (1999): W = U (Lambda - variance)^(1/2).
    """
    values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))
    axes, kept = vectors[:, -size:], values[-size:]
    covariance = axes @ torch.diag(kept - variance) @ axes.T + variance * torch.eye(5).double()
    return axes, -MultivariateNormal(x.mean(0), covariance).log_prob(x).mean().item()


def test_at_beta_one_a_linear_model_ends_at_probabilistic_pca():
    # Lucas, Tucker, Grosse & Norouzi (2019), arXiv 1911.02469: the bound is tight at its optimum.
    x, variance = correlated(), 0.25
    axes, best = probabilistic_pca(x, 2, variance)
    torch.manual_seed(0)
    model = Bottleneck(nn.Linear(5, 4), nn.Linear(2, 5), latent="gaussian", samples=4).double()
    method = BetaVAE(1.0, "gaussian", variance).double()
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=500, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss():
        optimiser.zero_grad()
        with noise_from(SigmaPoints()):
            value = method(model, x)
        value.backward()
        return value

    assert loss().item() > best + 1
    optimiser.step(loss)
    assert loss().item() == pytest.approx(best, abs=1e-5)
    learned = torch.linalg.qr(model.decoder.weight.detach()).Q
    cosines = torch.linalg.svdvals(axes.T @ learned)
    assert cosines.min() > 1 - 1e-5


def test_a_heavier_weight_gives_less_rate_and_more_distortion():
    x, found = images(64), {}
    for beta in (0.1, 1.0):
        torch.manual_seed(0)
        model, method = make(), BetaVAE(beta, "gaussian", variance=0.01).double()
        optimiser = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(300):
            optimiser.zero_grad()
            method(model, x).backward()
            optimiser.step()
        batch = Batch(x, torch.zeros(64).long())
        terms = method.terms(method.observe(model, batch), batch)
        found[beta] = terms.prediction.item(), terms.regularisers["rate"].value.item()
    assert found[1.0][0] > found[0.1][0]
    assert found[1.0][1] < found[0.1][1] - 1


def test_a_decoder_may_return_images():
    decoder = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 2, 2)))
    for samples in (None, 5):
        model = Bottleneck(
            nn.Sequential(nn.Flatten(), nn.Linear(4, 6)), decoder, latent="gaussian"
        ).double()
        model.samples = samples
        x = images().view(7, 1, 2, 2)
        output = BetaVAE(1.0).observe(model, Batch(x, None))
        assert BetaVAE(1.0).distortion(output, x).shape == (7,)


def test_labels_are_nowhere():
    model, x = make(), images()
    losses = []
    for y in (None, torch.ones(7).long()):
        torch.manual_seed(0)
        losses.append(BetaVAE(1.0).double()(model, x, y))
    assert torch.equal(*losses)
    assert BetaVAE not in METHODS.values()
    with pytest.raises(ConfigError, match="no accuracy"):
        BetaVAE.build(1.0, Sizes(4, 3, 2))
    with pytest.raises(InputError, match="predicts no labels"):
        PGDTraining(BetaVAE(1.0).double(), eps=0.1)(make(), x, torch.zeros(7).long())


def test_what_does_not_fit_is_refused():
    x = images()
    with pytest.raises(ConfigError, match="unknown likelihood 'gauss'; did you mean 'gaussian'"):
        BetaVAE(1.0, "gauss")
    with pytest.raises(ConfigError, match="variance must be positive and finite, got 0"):
        BetaVAE(1.0, "gaussian", variance=0.0)
    with pytest.raises(InputError, match="latent='gaussian'"):
        BetaVAE(1.0).double()(Bottleneck(nn.Linear(4, 3), nn.Linear(3, 4)).double(), x)
    short = Bottleneck(nn.Linear(4, 6), nn.Linear(3, 2), latent="gaussian").double()
    with pytest.raises(InputError, match="returns the 4 numbers of an input, got 2"):
        BetaVAE(1.0).double()(short, x)


def test_its_repr_builds_it_again_and_its_state_is_saved():
    method = BetaVAE(0.3, "gaussian", 0.5)
    assert repr(eval(repr(method))) == repr(method)
    assert set(method.state_dict()) == {"beta"}
