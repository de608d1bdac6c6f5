"""Which layers of a model pass their input on almost unchanged, but not its gradient.

    m(x) ~ x,  but  v . (m(x + u) - m(x - u)) / 2  is not  u . grad(v . m)(x)

Such a layer (rounding, compression, a detached filter, a steep staircase) does next to nothing to
the image and everything to the attack. Attacks go round it by the gradient of the identity.

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420, whose BPDA this is.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn

from narrows.models.outputs import logits_of

__all__ = ["blocking_modules"]

_NEAR = 0.3  # relative distance of a layer's output to its input
_WIDTH = 0.05  # of the difference, in units of the input's root mean square
_AGREE = 0.5  # relative error of the derivative


def blocking_modules(model: nn.Module, x: Tensor) -> list[str]:
    """Names of the layers of `model` that hide their gradient, outermost first.

    Args:
        model: in evaluation mode.
        x: `[n, ...]`, a few images to look at.

    Example:
        >>> class Round(nn.Module):
        ...     def forward(self, x):
        ...         return (16 * x).round() / 16
        >>> blocking_modules(nn.Sequential(Round(), nn.Flatten()), torch.rand(2, 1, 4, 4))
        ['0']
    """
    inputs: dict[str, Tensor] = {}

    def remember(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            tensors = len(given) == 1 and isinstance(given[0], Tensor) and given[0].dim() > 1
            if tensors and isinstance(output, Tensor) and output.shape == given[0].shape:
                inputs.setdefault(name, given[0].detach())

        return hook

    modules = {name: module for name, module in model.named_modules() if name}
    with ExitStack() as stack, torch.no_grad():
        for name, module in modules.items():
            with suppress(RuntimeError):  # a frozen or exported module takes no hooks
                stack.callback(module.register_forward_hook(remember(name)).remove)
        with suppress(Exception, SystemExit):  # of a model that takes no batch of so few
            logits_of(model, x)
    blocking: list[str] = []
    for name, module in modules.items():
        given = inputs.get(name)
        inside = any(name.startswith(f"{outer}.") for outer in blocking)
        if given is None or inside or not given.is_floating_point():
            continue
        # A layer may refuse to be run alone: in another precision, or without its neighbours.
        with suppress(Exception, SystemExit):
            if _hides(module, given):
                blocking.append(name)
    return blocking


def _hides(module: nn.Module, x: Tensor) -> bool:
    def run(x: Tensor) -> Tensor:
        output = module(x)  # whose sum would overflow in half precision
        return output.to(torch.promote_types(output.dtype, torch.float32))

    with torch.no_grad():
        y = run(x)
        if (y - x).norm() > _NEAR * x.to(y.dtype).norm() or not torch.equal(y, run(x)):
            return False
    width = _WIDTH * x.float().square().mean().sqrt().to(x.dtype)
    generator = torch.Generator(x.device).manual_seed(0)
    # Of one sign, so that sums over pixels don't cancel.
    u = width * torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    with torch.enable_grad():
        at = x.clone().requires_grad_()
        total = run(at).sum()
        slope = torch.zeros_like(x)
        if total.requires_grad:
            (slope,) = torch.autograd.grad(total, at, allow_unused=True, materialize_grads=True)
    with torch.no_grad():
        rise = (run(x + u) - run(x - u)).sum() / 2
    predicted = (slope.to(y.dtype) * u.to(y.dtype)).sum()
    return bool((predicted - rise).abs() > _AGREE * rise.abs())
