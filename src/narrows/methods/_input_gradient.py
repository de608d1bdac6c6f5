"""A model's output, and the gradient of its numbers with respect to the inputs, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from narrows.models.outputs import as_output, pack, unpack
from narrows.types import ModelOutput

__all__ = ["input_gradient"]

_Pullback = tuple[Tensor, Callable[[Tensor], tuple[Tensor]], dict[str, Tensor]]


def input_gradient(
    model: nn.Module, x: Tensor, value: Callable[[ModelOutput], Tensor], twice: bool = False
) -> tuple[ModelOutput, Tensor]:
    """Run the model once, and differentiate the sum of `value(output)` with respect to x.

    Inside `vmap`, and where gradients are disabled, torch.func differentiates. It refuses models
    that update running statistics, so neither it nor autograd works everywhere.

    Args:
        model: classifier.
        x: inputs `[batch, ...]`.
        value: of the output, numbers of any shape.
        twice: whether the gradient is differentiated again.

    Returns:
        The output, and the gradient in the shape of `x`.
    """
    if (leaf := _as_leaf(x)) is not None:
        output = as_output(model(leaf))
        total = value(output).sum()
        return output, torch.autograd.grad(total, leaf, retain_graph=True, create_graph=twice)[0]

    def run(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        output = as_output(model(x))
        return value(output), pack(output)

    values, pull, parts = cast(_Pullback, torch.func.vjp(run, x, has_aux=True))
    with nullcontext() if twice else torch.no_grad():
        (gradient,) = pull(torch.ones_like(values))
    return unpack(parts), gradient


def _as_leaf(x: Tensor) -> Tensor | None:
    """The input as a leaf of autograd; None inside vmap, or where gradients are disabled."""
    if not torch.is_grad_enabled():
        return None
    try:
        return x if x.requires_grad else x.detach().requires_grad_()
    except RuntimeError:  # inside vmap
        return None
