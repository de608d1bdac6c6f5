"""Which weights a training run hands out: averaged over its steps, and the best of its epochs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["BestWeights", "WeightAverage"]


class WeightAverage:
    """Zero-debiased exponential moving average of every floating point tensor.

        s_t = decay s_{t-1} + (1 - decay) w_t,  s_0 = 0;   average_t = s_t / (1 - decay^t)

    Args:
        live: the tensors to average, by name.
        decay: in [0, 1); 0 averages nothing and keeps nothing.
    """

    def __init__(self, live: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.sums = {
            name: torch.zeros_like(tensor)
            for name, tensor in live.items()
            if decay and tensor.is_floating_point()
        }

    def update(self, live: Mapping[str, Tensor]) -> None:
        """Take in the weights after a step."""
        for name, total in self.sums.items():
            total.lerp_(live[name], 1 - self.decay)

    def applied(self, live: Mapping[str, Tensor], steps: int) -> dict[str, Tensor]:
        """The live tensors, averaged where there is an average over `steps` updates."""
        debias = 1 - self.decay**steps
        return {**live, **{name: total / debias for name, total in self.sums.items()}}


class BestWeights:
    """Each member's weights after the epoch that did best on the validation data, the first such.

    Args:
        live: the tensors to keep, `[members, ...]` by name.
        count: number of members.
    """

    def __init__(self, live: Mapping[str, Tensor], count: int) -> None:
        self.tensors = {name: tensor.clone() for name, tensor in live.items()}
        self.accuracy = torch.full((count,), -1.0, dtype=torch.float64)
        self.epoch = torch.full((count,), -1)

    def offer(self, tensors: Mapping[str, Tensor], accuracy: Tensor, epoch: int) -> None:
        """Keep the weights of those members whose `accuracy: [members]` has risen."""
        better = accuracy > self.accuracy
        self.accuracy[better] = accuracy[better]
        self.epoch[better] = epoch
        for name, tensor in tensors.items():
            self.tensors[name][better] = tensor[better]
