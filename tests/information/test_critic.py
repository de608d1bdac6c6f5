import math

import pytest
import torch

from narrows.errors import ConfigError, InputError
from narrows.information import CRITIC_BOUNDS, CriticConfig, critic_bound, fit_critic
from narrows.information.critic import _Critic, _Pairs
from scenarios import CorrelatedGaussians, TwoGaussians, generator

QUICK = CriticConfig(hidden=16, steps=150, learning_rate=3e-3)


@pytest.mark.parametrize("bound", CRITIC_BOUNDS)
def test_one_pair_is_measured_within_a_tenth_or_three_errors(bound):
    target = CorrelatedGaussians(0.9)
    estimate = fit_critic(*target.sample(2000), bound, CriticConfig(steps=200, learning_rate=3e-3))
    margin = max(3 * estimate.std_error, 0.1 * target.information)
    assert estimate.nats == pytest.approx(target.information, abs=margin)
    assert estimate.n == 400
    assert estimate.diagnostics["critic_bound"] == bound


@pytest.mark.slow
@pytest.mark.parametrize("bound", CRITIC_BOUNDS)
def test_ten_pairs_are_measured_within_a_tenth(bound):
    target = CorrelatedGaussians(math.sqrt(1 - math.exp(-0.28)), d=10)
    estimate = fit_critic(*target.sample(10_000), bound)
    assert target.information == pytest.approx(1.4)
    assert estimate.nats == pytest.approx(1.4, rel=0.1)


def test_what_is_not_gaussian_is_found_by_the_perceptron():
    x = 2 * torch.rand(3000, 1, generator=generator(0)) - 1
    z = x.abs() + 0.05 * torch.randn(3000, 1, generator=generator(1))
    # I(X;Z) = h(Z) - h(noise) is a little above the entropy of |X|, which is uniform.
    truth = -0.5 * math.log(2 * math.pi * math.e * 0.05**2)
    estimate = fit_critic(x, z, config=CriticConfig(steps=400, learning_rate=3e-3))
    assert estimate.nats > 0.8 * truth


def test_labels_can_be_given_as_one_hot_vectors():
    target = TwoGaussians(2.0)
    _, z, y = target.sample(2000)
    one_hot = torch.nn.functional.one_hot(y).double()
    estimate = fit_critic(z, one_hot, config=QUICK)
    assert estimate.nats == pytest.approx(target.information, abs=0.1)


def test_an_overfitted_critic_claims_nothing_on_what_it_has_not_seen():
    x, z = torch.randn(2, 200, 8, generator=generator(0))
    loose = CriticConfig(learning_rate=1e-2, weight_decay=0.0, patience=10**6, steps=300)
    estimate = fit_critic(x, z, "infonce", loose)
    assert estimate.nats < 3 * estimate.std_error + 0.05
    assert estimate.diagnostics["steps"] == 300
    assert estimate.diagnostics["step"] <= 300


def test_training_stops_when_nothing_is_gained():
    x, z = torch.randn(2, 300, 4, generator=generator(0))
    estimate = fit_critic(x, z, config=CriticConfig(patience=100))
    assert estimate.diagnostics["steps"] <= estimate.diagnostics["step"] + 100


def test_the_score_of_a_pair_depends_on_that_pair_alone():
    critic = _Critic(2, 3, QUICK, generator(0))
    x, z = torch.randn(6, 2, generator=generator(1)), torch.randn(6, 3, generator=generator(2))
    every = critic.score(_Pairs(x, z))
    for i in range(6):
        for j in range(6):
            alone = critic.score(_Pairs(x[i : i + 1], z[j : j + 1]))
            assert alone.item() == pytest.approx(every[i, j].item(), abs=1e-5)


def test_the_same_seed_gives_the_same_estimate_and_leaves_the_global_generator_alone():
    x, z = CorrelatedGaussians().sample(300)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one, again = (fit_critic(x, z, config=QUICK, seed=3) for _ in range(2))
    assert one == again
    assert one.nats != fit_critic(x, z, config=QUICK, seed=4).nats
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.no_grad():
        assert fit_critic(x, z, config=QUICK, seed=3) == one


def test_a_constant_column_and_large_units_do_no_harm():
    x, z = CorrelatedGaussians(0.9).sample(1000)
    x = torch.cat([1e6 * x + 1e7, torch.ones_like(x)], 1)
    found = fit_critic(x, z, config=QUICK)
    assert found.nats > 0.5
    assert (found.diagnostics["constant_columns"], found.diagnostics["warning"]) == (1, None)


def test_a_constant_variable_is_named():
    x, _ = CorrelatedGaussians(0.9).sample(100)
    found = fit_critic(x, torch.ones(100, 2), config=QUICK)
    assert found.nats == pytest.approx(0, abs=1e-6)
    assert found.diagnostics["constant_columns"] == 2
    assert found.diagnostics["warning"] == "z is constant and carries nothing"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bound": "mine"}, ConfigError, "unknown critic bound"),
        ({"x": torch.zeros(99, 1)}, InputError, "99 samples, 100 of z"),
        ({"x": torch.full((100, 1), math.nan)}, InputError, "NaN"),
        ({"x": torch.zeros(9, 1), "z": torch.zeros(9, 1)}, InputError, "at least 50 samples"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        fit_critic(**({"x": torch.ones(100, 1), "z": torch.ones(100, 1)} | change))


@pytest.mark.parametrize("change", [{"steps": 0}, {"learning_rate": -1.0}, {"weight_decay": -1.0}])
def test_impossible_settings_are_refused(change):
    with pytest.raises(InputError, match=r"(steps|learning_rate|weight_decay) must be"):
        CriticConfig(**change)


def test_training_scores_are_told_apart_from_held_out_ones():
    x, z = CorrelatedGaussians(0.5).sample(300)
    estimate = fit_critic(x, z, config=QUICK)
    assert set(estimate.diagnostics) > {"train_nats", "validation_nats", "step", "steps"}
    assert estimate.ceiling == pytest.approx(math.log(60))
    assert critic_bound(torch.zeros(60, 60)).ceiling == estimate.ceiling


@pytest.mark.parametrize("factor", [1e-200, 1e-6, 1e6, 1e100])
def test_no_units_change_the_estimate(factor):
    x, z = CorrelatedGaussians(0.9).sample(300)
    plain = fit_critic(x, z, config=QUICK).nats
    assert fit_critic(factor * x, z, config=QUICK).nats == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize(
    "change", [{"steps": 2.5}, {"hidden": "3"}, {"learning_rate": "1"}, {"batch_size": 1}]
)
def test_settings_of_another_kind_are_refused(change):
    with pytest.raises(InputError, match=f"{next(iter(change))} must be"):
        CriticConfig(**change)
