"""Inactive units pass a part of the gradient on: what a model's zeros hide from an attack.

    forward y = h(x),   backward  h'(x) + leak   for relu, clamp, threshold and their like

A bottleneck whose units are zero for an image has no gradient there, however near the point is at
which they wake up.

Source: the backward pass differentiable approximation of Athalye, Carlini & Wagner (2018), arXiv
1802.00420, of a rectifier by a leaky one.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from narrows.models.outputs import logits_of

__all__ = ["Leaky"]

_LEAK = 0.2

_FLAT = {
    *(torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, F.relu, F.relu6),
    *(torch.clamp, torch.Tensor.clamp, torch.clamp_min, torch.Tensor.clamp_min),
    *(torch.Tensor.clamp_, torch.Tensor.clamp_min_, torch.clip, torch.Tensor.clip),
    *(torch.clamp_max, torch.Tensor.clamp_max, F.hardtanh, F.threshold, F.hardsigmoid),
    *(torch.threshold, torch.Tensor.heaviside, torch.heaviside),
}


class _Leaking(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _FLAT or not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        given = args[0].clone()
        result = func(*args, **kwargs)
        if not isinstance(result, Tensor) or result.shape != given.shape:
            return result
        return result + _LEAK * (given - given.detach()).nan_to_num()


class Leaky(nn.Module):
    """What a model says, with a gradient through its inactive units.

    Example:
        >>> x = torch.tensor([[-1.0, 2.0]], requires_grad=True)
        >>> torch.autograd.grad(Leaky(nn.ReLU())(x).sum(), x)
        (tensor([[0.2000, 1.2000]]),)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[n, classes]`."""
        with _Leaking():
            return logits_of(self.model, x)
