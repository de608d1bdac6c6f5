import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from narrows.errors import ConfigError
from narrows.training import TrainConfig


def test_the_learning_rate_falls_in_steps():
    config = TrainConfig(decay=0.5, decay_every=3)
    assert [config.rate_factor(epoch) for epoch in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert {TrainConfig().rate_factor(epoch) for epoch in range(50)} == {1.0}


@pytest.mark.parametrize(
    ("changes", "twin"),
    [
        ({"decay": 0.2, "decay_every": 20}, lambda o: StepLR(o, 20, 0.2)),
        ({"schedule": "cosine"}, lambda o: CosineAnnealingLR(o, 60)),
    ],
)
def test_rates_are_those_of_torchs_schedulers(changes, twin):
    config = TrainConfig(epochs=60, learning_rate=0.01, **changes)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.01)
    scheduler = twin(optimiser)
    for epoch in range(60):
        expected = optimiser.param_groups[0]["lr"]
        assert 0.01 * config.rate_factor(epoch) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        optimiser.step()
        scheduler.step()


def test_a_cosine_falls_on_top_of_the_decay():
    config = TrainConfig(epochs=4, decay=0.5, decay_every=2, schedule="cosine")
    half = math.cos(math.pi / 4) ** 2
    assert [config.rate_factor(e) for e in range(4)] == pytest.approx(
        [1, math.cos(math.pi / 8) ** 2, 0.5 * half, 0.5 * math.sin(math.pi / 8) ** 2]
    )


@pytest.mark.parametrize("name", ["optimiser", "schedule", "precision", "augment", "beta_scale"])
def test_words_that_there_are_not_are_refused_by_name(name):
    with pytest.raises(ConfigError, match=rf"unknown train.{name} 'adamm'.*Valid: "):
        TrainConfig(**{name: "adamm"})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"momentum": 0.9}, "momentum is SGD's, and the optimiser is adam"),
        ({"nesterov": True, "optimiser": "sgd"}, r"nesterov needs a train\.momentum above 0"),
        ({"beta_ramp": 5, "epochs": 5}, r"beta_ramp must .* less than train\.epochs = 5, got 5"),
        ({"beta_ramp": -1}, "beta_ramp must be at least 0"),
        ({"beta_scale": "log", "beta_start": 0.0}, "beta_start must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"clip_norm": math.inf}, "clip_norm must be at least 0, finite"),
        ({"momentum": 1.0, "optimiser": "sgd"}, r"momentum must be in \[0, 1\)"),
    ],
)
def test_numbers_that_make_no_sense_together_are_refused(bad, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**bad)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "decay_every"])
def test_counts_are_at_least_one(name):
    with pytest.raises(ConfigError, match=f"train.{name} must be at least 1, got 0"):
        TrainConfig(**{name: 0})


@pytest.mark.parametrize("name", ["learning_rate", "critic_learning_rate", "decay"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_rates_are_positive_and_finite(name, value):
    with pytest.raises(ConfigError, match=f"train.{name} must be positive and finite, got {value}"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("name", ["adam_beta1", "critic_adam_beta1", "averaging"])
@pytest.mark.parametrize("value", [1.0, -0.1, math.nan])
def test_decays_of_averages_lie_below_one(name, value):
    with pytest.raises(ConfigError, match=rf"train.{name} must be in \[0, 1\), got {value}"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    "bad", [{"patience": -1}, {"checkpoint_seconds": -1.0}, {"checkpoint_seconds": math.inf}]
)
def test_waits_are_finite_and_not_negative(bad):
    with pytest.raises(ConfigError, match="must be at least 0"):
        TrainConfig(**bad)
