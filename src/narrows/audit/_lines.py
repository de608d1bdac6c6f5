"""Rectifiers whose backward pass takes the line below or above them, for linear lower bounds."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["RECTIFIERS", "Layer", "Lines", "StopError"]

RECTIFIERS = (torch.relu, torch.relu_, F.relu, torch.Tensor.relu, torch.Tensor.relu_)


class Layer(NamedTuple):
    """Bounds `[n, ...]` of what a rectifier is given."""

    low: Tensor
    high: Tensor


class StopError(Exception):
    """Ends a pass at a rectifier.

    Args:
        value: what the rectifier was given.
    """

    def __init__(self, value: Tensor) -> None:
        super().__init__("the rectifier is reached")
        self.value = value


class _Line(torch.autograd.Function):
    """`max(z, 0)` forward; backward, a line that bounds the sum of what comes later from below."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, layer: Layer, lines: Lines) -> Tensor:
        ctx.save_for_backward(z, *layer)
        ctx.lines = lines
        return z.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        z, low, high = ctx.saved_tensors
        g = gradients[0]
        open_, crossing = low >= 0, (low < 0) & (high > 0)
        upper = torch.where(crossing, high / (high - low).clamp_min(1e-30), open_.to(z))
        lower = torch.where(crossing, (high > -low).to(z), open_.to(z))
        offset = torch.where(crossing, -low * upper, 0)
        given = g * torch.where(g >= 0, lower, upper)
        # What the lines leave out at the image itself, where every value is known.
        gap = g * z.clamp_min(0) - given * z - g.clamp_max(0) * offset
        ctx.lines.correction = ctx.lines.correction + gap.flatten(1).sum(1)
        return given, None, None


class Lines(TorchFunctionMode):
    """Replaces rectifiers, in the order in which they are run, by lines between their bounds.

    Args:
        layers: bounds of what each rectifier is given.
        stop: number of the rectifier at which to raise a `StopError`.

    Attributes:
        correction: `[n]`, to be subtracted from the linear bound of the last backward pass.
    """

    def __init__(self, layers: list[Layer], stop: int | None = None) -> None:
        super().__init__()
        self.layers, self.stop, self.count = layers, stop, 0
        self.correction: Tensor | float = 0.0

    def forget(self) -> None:
        """Begin a new backward pass."""
        self.correction = 0.0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in RECTIFIERS:
            return func(*args, **(kwargs or {}))
        if self.count == self.stop:
            raise StopError(args[0])
        layer = self.layers[self.count]
        self.count += 1
        return _Line.apply(args[0], layer, self)
