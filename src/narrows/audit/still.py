"""A model whose noise is held at its mean where it is differentiated, and drawn where it is judged.

    forward f(x; n),  backward grad_x f(x; E n),   n what the model draws from torch's generators

A gradient of one draw is the model's and that of the noise. Where the latter is much the larger,
averaging needs more draws than anybody has; left out, it costs nothing.

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420, whose BPDA lets an approximation of the
model take its place in the backward pass. Ours is exact where the noise enters linearly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from narrows.models.outputs import logits_of

__all__ = ["Still"]


def _like(value: float) -> Callable[..., Tensor]:
    return lambda drawn, *args, **kwargs: torch.full_like(drawn, value)


def _normal(drawn: Tensor, mean: Any = 0.0, *args: Any, **kwargs: Any) -> Tensor:
    return torch.zeros_like(drawn) + mean


def _uniform(drawn: Tensor, x: Tensor, low: float = 0.0, high: float = 1.0, **_: Any) -> Tensor:
    return x.fill_((low + high) / 2)


_MEANS: dict[Any, Callable[..., Tensor]] = {
    torch.randn: _like(0.0),
    torch.randn_like: _like(0.0),
    torch.rand: _like(0.5),
    torch.rand_like: _like(0.5),
    torch.normal: _normal,
    torch.bernoulli: lambda drawn, p, *args, **kwargs: p,
    torch.Tensor.normal_: lambda drawn, x, mean=0.0, std=1.0, **_: x.fill_(mean),
    torch.Tensor.uniform_: _uniform,
    **dict.fromkeys(
        (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout),
        lambda drawn, x, *args, **kwargs: x,
    ),
}


class _AtMean(TorchFunctionMode):
    """Draws are their means. What is chosen at random, such as an index, is drawn as ever."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        drawn = func(*args, **(kwargs or {}))
        return _MEANS[func](drawn, *args, **(kwargs or {})) if func in _MEANS else drawn


class Still(nn.Module):
    """What a stochastic model says, with the gradient it would have without its noise.

    Example:
        >>> class Noisy(nn.Module):
        ...     def forward(self, x):
        ...         return x * torch.randn_like(x) + 3 * x
        >>> x = torch.ones(1, 2, requires_grad=True)
        >>> torch.autograd.grad(Still(Noisy())(x).sum(), x)
        (tensor([[3., 3.]]),)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """One draw of the logits `[n, classes]`."""
        with torch.no_grad():
            drawn = logits_of(self.model, x)
        if not torch.is_grad_enabled():
            return drawn
        with _AtMean():
            still = logits_of(self.model, x)
        return still + (drawn - still).detach()
