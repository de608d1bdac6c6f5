"""Any network as a classifier of images in [0, 1] that returns logits.

    logits = pick(model((x - mean) / std))

Attacks change images within [0, 1]. A network that was trained on normalised images is attacked
with its normalisation in front of it, so that a radius means the same for every network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from narrows.errors import ConfigError, InputError
from narrows.models.outputs import as_output
from narrows.types import ModelOutput

__all__ = ["Adapted", "adapt"]

Pick = Callable[[Any], Tensor] | str | int


class Adapted(nn.Module):
    """A network behind its normalisation, and what is taken of its output; see `adapt`."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: nn.Module, mean: Sequence[float], std: Sequence[float], logits: Pick | None
    ) -> None:
        super().__init__()
        self.model = model
        self.logits = logits
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor | ModelOutput:
        """Normalise, run the network, and pick the logits."""
        for name in ("mean", "std"):
            if len(values := getattr(self, name)) not in (1, x.shape[1]):
                raise InputError(
                    f"{name} has {len(values)} numbers, and the images have {x.shape[1]} channels; "
                    "give one number for each channel, or a single one"
                )
        across = (1, -1, *[1] * (x.dim() - 2))
        output = self.model((x - self.mean.to(x).view(across)) / self.std.to(x).view(across))
        return as_output(output if self.logits is None else _picked(output, self.logits))

    def extra_repr(self) -> str:
        """The normalisation."""
        return f"mean={self.mean.tolist()}, std={self.std.tolist()}"


def adapt(
    model: nn.Module,
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    logits: Pick | None = None,
) -> Adapted:
    """Put the normalisation that a network expects in front of it, and pick its logits.

    Args:
        model: any network; its weights are shared, not copied.
        mean: that it expects to be subtracted from images in [0, 1], one number or one for each
            channel.
        std: that it expects them to be divided by.
        logits: what of its output is taken: a function of the output, the name of an attribute or
            key, or a position in a tuple; `None` where it returns logits.

    Raises:
        ConfigError: for a `std` of 0, or numbers that are not finite.
        InputError: in the forward pass, for another number of channels, or an output without
            such a part.

    Example:
        >>> model = adapt(nn.Linear(3, 2), mean=[0.5, 0.4, 0.4], std=0.2)
        >>> model(torch.rand(5, 3)).logits.shape
        torch.Size([5, 2])
    """
    means, stds = (
        [float(number) for number in ([values] if isinstance(values, (int, float)) else values)]
        for values in (mean, std)
    )
    if not means or not stds or not torch.tensor(means + stds).isfinite().all() or min(stds) <= 0:
        raise ConfigError(
            f"mean must hold finite numbers and std positive ones, got {means} and {stds}"
        )
    return Adapted(model, means, stds, logits)


def _picked(output: Any, pick: Pick) -> Tensor:
    """The logits in a network's output."""
    if callable(pick):
        return pick(output)
    try:
        if isinstance(pick, str) and not isinstance(output, Mapping):
            return getattr(output, pick)
        return output[pick]
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        names = list(output) if isinstance(output, Mapping) else type(output).__name__
        raise InputError(f"the network's output has no {pick!r}; it is {names}") from error
