"""How long and how fast to train: the numbers of a training run, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from narrows.errors import ConfigError

__all__ = ["TrainConfig"]


@dataclass(frozen=True)
class TrainConfig:
    """Adam with a stepwise decay, optional weight averaging and early stopping.

    Args:
        epochs: passes over the training set, at most.
        batch_size: images a step; an incomplete last batch is dropped.
        learning_rate: of the model.
        adam_beta1: decay of the first moment; 0.5 in VIB's published code.
        decay: factor on the learning rate ...
        decay_every: ... after every so many epochs (VIB: 0.97 every 2).
        averaging: decay of the zero-debiased moving average of the weights (VIB: 0.999); 0 for
            none. Where there is one, it is what is validated and returned.
        patience: stop when no member has improved on validation data for so many epochs; 0 never.
        critic_learning_rate: of the critic's own Adam, where the method has one.
        critic_adam_beta1: its decay of the first moment.
        checkpoint_seconds: least time between two checkpoints.
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

    def __post_init__(self) -> None:
        at_least_one = ("epochs", "batch_size", "decay_every")
        positive = ("learning_rate", "critic_learning_rate", "decay")
        shares = ("adam_beta1", "critic_adam_beta1", "averaging")
        for names, fits, wanted in (
            (at_least_one, lambda v: v >= 1, "at least 1"),
            (positive, lambda v: 0 < v < math.inf, "positive and finite"),
            (shares, lambda v: 0 <= v < 1, "in [0, 1)"),
            (("patience", "checkpoint_seconds"), lambda v: 0 <= v < math.inf, "at least 0, finite"),
        ):
            for name in names:
                if not fits(getattr(self, name)):
                    raise ConfigError(f"train.{name} must be {wanted}, got {getattr(self, name)}")

    def rate_factor(self, epoch: int) -> float:
        """What the learning rates are multiplied by in `epoch`, counted from 0."""
        return self.decay ** (epoch // self.decay_every)

    def steps_per_epoch(self, images: int) -> int:
        """Batches of one pass over so many images."""
        return max(1, images // self.batch_size)
