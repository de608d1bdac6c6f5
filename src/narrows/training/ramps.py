"""Buffers of a method that change during training: beta on a ramp, and the progress.

    beta_t = start + (target - start) t   or   start^(1 - t) target^t,   t = step / steps of ramp

Sources: the ramp of VIB's beta on CIFAR-10, from 1e-8 over 100 epochs, and the annealing of CEB's
rho from 100 over 4: Korshunova, Stutz, Alemi, Wiles & Gowal (2021), arXiv 2107.05712, appendix. As
rho = -log beta, the second is linear in the logarithm of beta; the paper does not say whether the
first is.

A method that trains in stages registers a buffer `progress`, which is set before each epoch to the
share of the epochs that are over, in [0, 1). Its `matures` is the share after which the best epoch
may be chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.training.config import TrainConfig

__all__ = ["Ramps", "ramped"]

# The method itself, or the one that adversarial training wraps.
_BETA = ("method.beta", "method.method.beta")
_PROGRESS = ("method.progress", "method.method.progress")


class Ramps:
    """Sets beta and progress of members during training.

    Args:
        live: their tensors by name, `[members, ...]`; beta is the value at the end of the ramp.
        config: the training settings.
        steps_per_epoch: batches of one pass over the training set.
    """

    def __init__(self, live: Mapping[str, Tensor], config: TrainConfig, steps_per_epoch: int):
        self._config = config
        self._steps = config.beta_ramp * steps_per_epoch
        self._beta = [live[name] for name in ramped(live, config)]
        self._target = [beta.clone() for beta in self._beta]
        self._progress = [live[name] for name in _PROGRESS if name in live]

    def before_epoch(self, epoch: int) -> None:
        """Set the share of training that is over."""
        for progress in self._progress:
            progress.fill_(epoch / self._config.epochs)

    def before_step(self, step: int) -> None:
        """Set beta for a step, counted from 0 over all epochs."""
        if step > self._steps:  # beta has its final value
            return
        for beta, target in zip(self._beta, self._target, strict=True):
            beta.copy_(self._at(target, step))

    def _at(self, target: Tensor, step: int) -> Tensor:
        start, share = self._config.beta_start, step / self._steps
        if share == 1:
            return target
        if self._config.beta_scale == "linear":
            moved = start + (target - start) * share
        else:  # in float64: CEB starts at exp(-100), which float32 cannot represent well
            log_start, log_target = math.log(start), target.double().log()
            moved = (log_start + (log_target - log_start) * share).exp().to(target.dtype)
        return torch.where(target > 0, moved, target)


def ramped(live: Mapping[str, Tensor], config: TrainConfig) -> list[str]:
    """Names of the tensors that follow a ramp; empty where the settings have none."""
    return [name for name in _BETA if name in live] if config.beta_ramp else []
