import math
from typing import get_args

import pytest
import torch
from torch import nn

from narrows.errors import ConfigError, InputError
from narrows.models import BinaryStochasticNet, Bottleneck, as_classifier, latent_mode
from narrows.models.bottleneck import draw_logits, resting_mode
from narrows.models.gaussian import LatentKind, code_width

X = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))


def make(latent="gaussian", **keywords) -> Bottleneck:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        width = 6 if latent == "gaussian" else 3
        model = Bottleneck(nn.Linear(4, width), nn.Linear(3, 2), latent=latent, **keywords)
    if latent == "gaussian":
        with torch.no_grad():
            model.encoder.bias[3:] += 5.0  # scales near 0.7 instead of 0.007
    return model


def test_sampling_differs_from_call_to_call_and_its_mean_draws_nothing():
    model = make()
    assert not torch.equal(model(X).logits, model(X).logits)
    model.mode = "mean"
    before = torch.get_rng_state()
    first, second = model(X), model(X)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.latent.z, first.latent.mean)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_deterministic_latent_is_the_code_in_every_mode():
    model = make("deterministic", samples=7)
    before = torch.get_rng_state()
    output = model(X)
    assert torch.equal(output.latent.z, model.encoder(X))
    assert output.latent.z is output.latent.mean
    assert output.latent.scale is None
    assert torch.equal(output.logits, model.decoder(model.encoder(X)))
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_add_a_leading_axis_to_logits_and_codes_only():
    output = make(samples=7)(X)
    assert output.logits.shape == (7, 5, 2)
    assert output.latent.z.shape == (7, 5, 3)
    assert output.latent.mean.shape == output.latent.scale.shape == (5, 3)


def test_each_sample_is_decoded_for_itself():
    model = make(samples=3)
    output = model(X)
    for logits, z in zip(output.logits, output.latent.z, strict=True):
        torch.testing.assert_close(logits, model.decoder(z))


def test_draws_have_the_mean_and_scale_of_the_posterior():
    output = make(samples=20_000)(X)
    standard = (output.latent.z - output.latent.mean) / output.latent.scale
    assert standard.mean((0, 1)).abs().max() < 0.02
    assert (standard.std((0, 1)) - 1).abs().max() < 0.02


def test_latent_mode_restores_every_bottleneck_even_after_an_exception():
    inner = make(samples=2)
    outer = nn.Sequential(inner, make(mode="mean"))

    def break_off() -> None:
        with latent_mode(outer, "mean", 9):
            assert [(m.mode, m.samples) for m in outer] == [("mean", 9), ("mean", 9)]
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        break_off()
    assert [(m.mode, m.samples) for m in outer] == [("sample", 2), ("mean", None)]


def test_a_classifier_of_twelve_draws_averages_their_probabilities():
    model = make()
    classifier = as_classifier(model, samples=12)
    torch.manual_seed(1)
    logits = classifier(X)
    torch.manual_seed(1)
    with latent_mode(model, "sample", 12):
        by_hand = model(X).logits.softmax(-1).mean(0).log()
    torch.testing.assert_close(logits, by_hand)
    torch.testing.assert_close(logits.logsumexp(-1), torch.zeros(5), atol=1e-6, rtol=0)
    assert (model.mode, model.samples) == ("sample", None)


def test_a_classifier_at_the_mean_is_the_network_without_noise():
    model = make()
    mean, _ = model.encoder(X).chunk(2, -1)
    assert torch.equal(as_classifier(model, mode="mean")(X), model.decoder(mean))


def test_a_classifier_of_a_plain_network_is_that_network():
    plain = nn.Linear(4, 2)
    assert torch.equal(as_classifier(plain, samples=12)(X), plain(X))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make(mode="maen"), "mode must be 'sample' or 'mean', got 'maen'"),
        (lambda: make(samples=0), "samples must be at least 1, got 0"),
        (lambda: as_classifier(make(), samples=0), "samples must be at least 1"),
        (lambda: make(samples=2**63 - 1), "samples must be at most 1,000,000, got 9223"),
        (lambda: as_classifier(make(), samples=10**12), "samples must be at most 1,000,000"),
        (lambda: as_classifier(make(), samples="3"), "samples must be a whole number, got '3'"),
        (lambda: make(samples=2.5), "samples must be a whole number, got 2.5"),
        (lambda: as_classifier(make(), mode="median"), "got 'median'"),
        (lambda: latent_mode(make(), "maen").__enter__(), "got 'maen'"),
        (lambda: Bottleneck(nn.Identity(), nn.Identity(), latent="bernoulli"), "got 'bernoulli'"),
    ],
)
def test_modes_and_samples_that_there_are_not_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_a_mode_misspelt_later_is_refused_when_it_is_used():
    model = make()
    model.mode = "maen"
    with pytest.raises(ConfigError, match="got 'maen'"):
        model(X)


@pytest.mark.parametrize("latent", ["deterministic", "gaussian"])
def test_an_encoder_that_returns_maps_is_told_to_flatten(latent):
    model = Bottleneck(nn.Conv2d(1, 2, 3), nn.Linear(8, 2), latent=latent)
    with pytest.raises(InputError, match=r"\[batch, features\], got \(5, 2, 2, 2\).*Flatten"):
        model(torch.rand(5, 1, 4, 4))


def test_an_odd_code_has_no_means_and_scales():
    model = Bottleneck(nn.Linear(4, 5), nn.Linear(2, 2), latent="gaussian")
    with pytest.raises(InputError, match="even number of features; got 5"):
        model(X)


def test_its_repr_shows_the_latent():
    assert "latent='gaussian', mode='mean', samples=3" in repr(make(mode="mean", samples=3))


@pytest.mark.parametrize("latent", get_args(LatentKind))
def test_every_latent_has_the_distribution_it_says(latent):
    torch.manual_seed(0)
    model = Bottleneck(nn.Linear(4, code_width(latent, 3)), nn.Linear(3, 2), latent=latent)
    model.samples = None if latent == "deterministic" else 20_000
    if latent == "shared":
        with torch.no_grad():
            model.raw_variance.fill_(1.5)
    output = model(X).latent
    if latent == "deterministic":
        assert output.scale is None
        return
    full = output.scale.dim() == 3
    factor = output.scale if full else torch.diag_embed(output.scale)
    standard = torch.linalg.solve_triangular(
        factor, (output.z - output.mean).movedim(0, -1), upper=False
    )
    assert standard.mean(-1).abs().max() < 0.04
    covariance = standard @ standard.mT / 20_000
    torch.testing.assert_close(covariance, torch.eye(3).expand(5, 3, 3), atol=0.05, rtol=0)
    known = {"unit": 1.0, "shared": math.log1p(math.exp(1.5)) ** 0.5}
    if latent in known:
        assert torch.allclose(output.scale, torch.tensor(known[latent]))


def test_only_a_shared_scale_is_a_parameter_of_the_bottleneck_itself():
    owned = {
        latent: len(list(Bottleneck(nn.Identity(), nn.Identity(), latent=latent).parameters()))
        for latent in get_args(LatentKind)
    }
    assert owned == {
        "deterministic": 0,
        "gaussian": 0,
        "full": 0,
        "cholesky": 0,
        "unit": 0,
        "shared": 1,
    }


class TestDrawLogits:
    """Several passes at once are what as many passes one by one are."""

    @pytest.mark.parametrize("samples", [None, 3])
    def test_one_pass_of_the_encoder_draws_what_many_would(self, samples):
        torch.manual_seed(0)
        model = Bottleneck(nn.Linear(4, 6), nn.Linear(3, 2), latent="gaussian")
        x, calls = torch.rand(5, 4), []
        model.encoder.register_forward_hook(lambda *_: calls.append(1))
        victim = as_classifier(model, samples)
        drawn = draw_logits(victim, x, 4000)
        assert drawn.shape == (4000, 5, 2)
        assert len(calls) <= 4
        singly = torch.stack([victim(x) for _ in range(4000)])
        for moment in (torch.mean, torch.std):
            found, wanted = moment(drawn, 0), moment(singly, 0)
            torch.testing.assert_close(found, wanted, atol=0.06, rtol=0.1)
        assert not torch.equal(drawn[0], drawn[1])

    def test_noise_elsewhere_is_drawn_anew_in_every_pass(self):
        class Noisy(nn.Module):
            def forward(self, x):
                return x + torch.randn(())

        model = Bottleneck(
            nn.Sequential(Noisy(), nn.Linear(4, 6)), nn.Linear(3, 2), latent="gaussian"
        )
        model.mode = "mean"
        drawn = draw_logits(as_classifier(model, mode="mean"), torch.rand(5, 4), 4)
        assert len(drawn[:, 0, 0].unique()) == 4

    def test_a_plain_model_is_just_called(self):
        model, x = nn.Linear(4, 2), torch.rand(5, 4)
        assert torch.equal(draw_logits(model, x, 2), torch.stack([model(x)] * 2))


def test_a_model_is_judged_at_its_mean_unless_that_is_another_network():
    assert (
        resting_mode(Bottleneck(nn.Linear(4, 6), nn.Linear(3, 2), latent="gaussian"))[0] == "mean"
    )
    assert resting_mode(nn.Linear(4, 2)) == ("mean", None)
    assert resting_mode(nn.Sequential(BinaryStochasticNet(4, [3], 2)), 8) == ("sample", 8)


@pytest.mark.parametrize("latent", ["gaussian", "full", "cholesky", "unit", "shared"])
def test_the_posterior_is_exact_in_mixed_precision(latent):
    encoder = nn.Linear(4, code_width(latent, 3))
    model = Bottleneck(encoder, nn.Linear(3, 2), latent=latent)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(torch.rand(5, 4))
    assert output.logits.dtype == torch.bfloat16
    assert {part.dtype for part in output.latent} == {torch.float32}
    halves = model.bfloat16()(torch.rand(5, 4).bfloat16()).latent
    assert halves.mean.dtype == torch.bfloat16
