"""A model with another gradient: what it says forward, an estimate or a substitute backward.

| gradient       | of v . f at x                                                                  |
|----------------|--------------------------------------------------------------------------------|
| `differences`  | mean of  u  v . (f(x + s u) - f(x - s u)) / 2 s,   u random signs              |
| `votes`        | mean of  u (1[f(x + s u) misses y] - 1[f(x - s u) misses y]) / 2 s             |
| `smoothed`     | mean of  grad (v . f)(x + s u),   u uniform in [-1, 1]                         |
| `borrowed`     | grad (v . g)(x) of another network g                                           |

Votes need no score at all: y is the class that v lowers most. They see something only where noise
of the width s changes the class. Each pair of differences is antithetic.

Source: Wierstra et al. (2014), JMLR 15, and Ilyas et al. (2018), arXiv 1804.08598, for natural
evolution strategies; Chen, Jordan & Wainwright (2020), arXiv 1904.02144, for the gradient of the
decision; Athalye, Carlini & Wagner (2018), arXiv 1802.00420, for another function's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from narrows.attacks.norms import per_image
from narrows.models.outputs import logits_of

__all__ = ["Backward", "Gradient", "borrowed", "differences", "smoothed", "votes"]

_AT_ONCE = 2**20  # values of a batch of images

Gradient = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""`(model, x: [n, ...], v: [n, C]) -> [n, ...]`, an estimate of the gradient of `v . f` at x."""


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, view: Backward) -> Tensor:
        ctx.save_for_backward(x)
        ctx.view = view
        return logits_of(view.model, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        view: Backward = ctx.view
        return view.gradient(view.model, x, gradients[0]).to(x.dtype), None


class Backward(nn.Module):
    """The model forward, another gradient backward.

    Args:
        model: any classifier.
        gradient: takes the place of its own.

    Example:
        >>> model = nn.Linear(2, 2, bias=False)
        >>> view = Backward(model, lambda model, x, v: torch.full_like(x, 7))
        >>> x = torch.ones(1, 2, requires_grad=True)
        >>> torch.autograd.grad(view(x).sum(), x)
        (tensor([[7., 7.]]),)
    """

    def __init__(self, model: nn.Module, gradient: Gradient) -> None:
        super().__init__()
        self.model = model
        self.gradient = gradient

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[n, classes]` of the model."""
        return _Replaced.apply(x, self)


def differences(directions: int, width: float) -> Gradient:
    """Antithetic finite differences of the score.

    Args:
        directions: pairs of passes.
        width: to either side, of each pixel.
    """

    def rise(ahead: Tensor, behind: Tensor, v: Tensor) -> Tensor:
        return ((ahead - behind) * v).sum(1)

    return _antithetic(rise, directions, width)


def votes(directions: int, width: float) -> Gradient:
    """Differences of how often noise of this width takes the image out of its class.

    Args:
        directions: pairs of passes.
        width: to either side, of each pixel.
    """

    def rise(ahead: Tensor, behind: Tensor, v: Tensor) -> Tensor:
        y = v.argmin(1)
        return (ahead.argmax(1) != y).to(v) - (behind.argmax(1) != y).to(v)

    return _antithetic(rise, directions, width)


def _antithetic(
    rise: Callable[[Tensor, Tensor, Tensor], Tensor], directions: int, width: float
) -> Gradient:
    def gradient(model: nn.Module, x: Tensor, v: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        with torch.no_grad():
            for count in _blocks(x, directions):
                shape = (count, *x.shape)
                u = torch.randint(0, 2, shape, device=x.device).to(x.dtype).mul_(2).sub_(1)
                both = torch.stack([x + width * u, x - width * u]).flatten(0, 2)
                ahead, behind = logits_of(model, both).chunk(2)
                steep = rise(ahead, behind, v.repeat(count, 1)) / (2 * width)
                total += (u.flatten(0, 1) * per_image(steep, x)).view_as(u).sum(0)
        return total / directions

    return gradient


def _blocks(x: Tensor, count: int) -> Iterator[int]:
    """Split copies of `x: [n, ...]` into as few batches as the memory is to hold."""
    most = max(1, _AT_ONCE // (2 * x.numel()))
    for done in range(0, count, most):
        yield min(most, count - done)


def smoothed(draws: int, width: float) -> Gradient:
    """The mean of the model's own gradient over noise on the image.

    Args:
        draws: points at which the gradient is taken.
        width: of the noise, of each pixel.
    """

    def gradient(model: nn.Module, x: Tensor, v: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for count in _blocks(x, draws):
            noise = width * (2 * torch.rand((count, *x.shape), dtype=x.dtype, device=x.device) - 1)
            points = (x + noise).clamp(0, 1).flatten(0, 1)
            slope = _own(points, v.repeat(count, 1), model).nan_to_num(0, 0, 0)
            total += slope.view_as(noise).sum(0)
        return total / draws

    return gradient


def borrowed(other: nn.Module) -> Gradient:
    """The gradient of another network, whose scores mean the same classes.

    Args:
        other: the network.
    """
    return lambda model, x, v: _own(x, v, other)


def _own(x: Tensor, v: Tensor, model: nn.Module) -> Tensor:
    """Gradient of `v . f` by autograd, zero where there is none."""
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        score = (logits_of(model, at) * v).sum()
        if not score.requires_grad:
            return torch.zeros_like(x)
        (gradient,) = torch.autograd.grad(score, at, allow_unused=True, materialize_grads=True)
    return gradient
