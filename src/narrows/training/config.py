"""The settings of a training run, checked: optimiser, schedule, length, ramp of beta."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from narrows.errors import ConfigError, unknown_name

__all__ = ["Augment", "OptimiserName", "Precision", "Schedule", "TrainConfig"]

OptimiserName = Literal["adam", "sgd", "adadelta", "adagrad", "adamax"]
Schedule = Literal["step", "cosine"]
Precision = Literal["float32", "bfloat16"]
Augment = Literal["none", "crop_flip"]
Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run: optimiser, schedule, length, ramp of beta.

        rate(epoch) = learning_rate * decay^(epoch // decay_every)
                      [* (1 + cos(pi epoch / epochs)) / 2  where schedule = "cosine"]
        beta(t) = start + (target - start) t / T   or   start^(1 - t/T) target^(t/T),  T = beta_ramp

    The second form of beta is linear in its logarithm, as is CEB's rho = -log beta when it is
    annealed.

    Args:
        epochs: passes over the training set, at most.
        batch_size: images per step; an incomplete last batch is dropped.
        learning_rate: of the model.
        adam_beta1: decay of the first moment of Adam and Adamax; 0.5 in VIB's published code.
        decay: factor on the learning rate after every `decay_every` epochs (VIB: 0.97).
        decay_every: epochs between two decays (VIB: 2).
        averaging: decay of the zero-debiased moving average of the weights (VIB: 0.999); 0 for
            none. Where there is an average, it is validated and returned in place of the weights.
        patience: stop when no member has improved on validation data for so many epochs; 0 for
            never.
        critic_learning_rate: of the critic's own Adam, where the method has a critic.
        critic_adam_beta1: decay of the first moment of that Adam.
        checkpoint_seconds: least time between two checkpoints.
        optimiser: of the model: `"adam"`, `"sgd"`, `"adadelta"`, `"adagrad"` or `"adamax"`.
        momentum: of SGD.
        nesterov: whether that momentum is Nesterov's.
        weight_decay: factor on the weights that is added to their gradient (L2).
        schedule: `"step"` for the decay alone, `"cosine"` to multiply it by half a cosine.
        clip_norm: largest L2 norm of the gradient of all weights of one model; 0 for no limit.
        precision: of the models' passes in training; `"bfloat16"` is mixed precision, in which
            weights, losses, information terms and validation stay in float32.
        channels_last: whether convolutions keep the channels of a pixel side by side in memory,
            which is faster on most processors; results differ by rounding alone.
        augment: `"crop_flip"` crops and mirrors the training images at random, `"none"` does not.
        beta_start: the beta that a ramp starts from.
        beta_ramp: epochs until beta reaches its value; 0 for no ramp. A beta of 0 stays 0, and the
            best epoch is chosen among those after the ramp.
        beta_scale: whether the ramp is `"linear"` in beta or in its logarithm (`"log"`).

    Raises:
        ConfigError: for numbers out of range, unknown words, and settings that exclude each other.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    adam_beta1: float = 0.9
    decay: float = 1.0
    decay_every: int = 1
    averaging: float = 0.0
    patience: int = 0
    critic_learning_rate: float = 2e-4
    critic_adam_beta1: float = 0.5
    checkpoint_seconds: float = 30.0
    optimiser: OptimiserName = "adam"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Schedule = "step"
    clip_norm: float = 0.0
    precision: Precision = "float32"
    channels_last: bool = False
    augment: Augment = "none"
    beta_start: float = 1e-8
    beta_ramp: int = 0
    beta_scale: Scale = "linear"

    def __post_init__(self) -> None:
        self._check_numbers()
        for name, words in _WORDS.items():
            if getattr(self, name) not in get_args(words):
                raise unknown_name(f"train.{name}", str(getattr(self, name)), get_args(words))
        if self.momentum and self.optimiser != "sgd":
            raise ConfigError(
                f"train.momentum is SGD's, and the optimiser is {self.optimiser}; "
                "leave it out, or set train.optimiser to sgd"
            )
        if self.nesterov and not self.momentum:
            raise ConfigError("train.nesterov needs a train.momentum above 0")
        if self.beta_ramp and not 0 <= self.beta_ramp < self.epochs:
            raise ConfigError(
                f"train.beta_ramp must be at least 0 and less than train.epochs = {self.epochs}, "
                f"got {self.beta_ramp}"
            )
        if self.beta_scale == "log" and not self.beta_start:
            raise ConfigError("train.beta_start must be above 0 where train.beta_scale is log")

    def _check_numbers(self) -> None:
        at_least_one = ("epochs", "batch_size", "decay_every")
        positive = ("learning_rate", "critic_learning_rate", "decay")
        shares = ("adam_beta1", "critic_adam_beta1", "averaging", "momentum")
        at_least_zero = (
            "patience",
            "checkpoint_seconds",
            "weight_decay",
            "clip_norm",
            "beta_start",
        )
        for names, fits, wanted in (
            (at_least_one, lambda v: v >= 1, "at least 1"),
            (positive, lambda v: 0 < v < math.inf, "positive and finite"),
            (shares, lambda v: 0 <= v < 1, "in [0, 1)"),
            (at_least_zero, lambda v: 0 <= v < math.inf, "at least 0, finite"),
        ):
            for name in names:
                if not fits(getattr(self, name)):
                    raise ConfigError(f"train.{name} must be {wanted}, got {getattr(self, name)}")

    def rate_factor(self, epoch: int) -> float:
        """Factor on the learning rates in `epoch`, counted from 0."""
        factor = self.decay ** (epoch // self.decay_every)
        if self.schedule == "cosine":
            factor *= (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return factor

    @property
    def stackable(self) -> bool:
        """Whether these settings have an effect in a vectorised step of many models."""
        return self.precision == "float32" and not self.channels_last

    def steps_per_epoch(self, images: int) -> int:
        """Batches of one pass over so many images."""
        return max(1, images // self.batch_size)


_WORDS: dict[str, Any] = {
    "optimiser": OptimiserName,
    "schedule": Schedule,
    "precision": Precision,
    "augment": Augment,
    "beta_scale": Scale,
}
