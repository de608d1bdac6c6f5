"""The weights that a training run returns: averaged over steps, and the best of all epochs."""

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
        decay: in [0, 1); 0 for no average.
    """

    def __init__(self, live: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.sums = {
            name: torch.zeros_like(tensor)
            for name, tensor in live.items()
            if decay and tensor.is_floating_point()
        }

    def update(self, live: Mapping[str, Tensor]) -> None:
        """Update the average with the weights after a step."""
        for name, total in self.sums.items():
            total.lerp_(live[name], 1 - self.decay)

    def applied(self, live: Mapping[str, Tensor], steps: int) -> dict[str, Tensor]:
        """The live tensors, replaced by their averages over `steps` updates where there are any."""
        debias = 1 - self.decay**steps
        return {**live, **{name: total / debias for name, total in self.sums.items()}}


class BestWeights:
    """Each member's weights after its best epoch on the validation data (the first of equals).

    Args:
        live: the tensors to keep, `[members, ...]` by name.
        count: number of members.
    """

    def __init__(self, live: Mapping[str, Tensor], count: int) -> None:
        self.tensors = {name: tensor.clone() for name, tensor in live.items()}
        self.accuracy = torch.full((count,), -1.0, dtype=torch.float64)
        self.epoch = torch.full((count,), -1)

    def offer(self, tensors: Mapping[str, Tensor], accuracy: Tensor, epoch: int) -> None:
        """Keep the weights of those members whose accuracy has risen.

        Args:
            tensors: current weights by name, `[members, ...]`.
            accuracy: `[members]`, on the validation data.
            epoch: index of the epoch.
        """
        better = accuracy > self.accuracy
        self.accuracy[better] = accuracy[better]
        self.epoch[better] = epoch
        for name, tensor in tensors.items():
            self.tensors[name][better] = tensor[better]
