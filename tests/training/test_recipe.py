import math

import pytest

from narrows.errors import ConfigError
from narrows.training import TrainConfig


def test_the_learning_rate_falls_in_steps():
    config = TrainConfig(decay=0.5, decay_every=3)
    assert [config.rate_factor(epoch) for epoch in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert {TrainConfig().rate_factor(epoch) for epoch in range(50)} == {1.0}


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
