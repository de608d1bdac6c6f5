"""A model that an attack can always climb on: its gradient is zero where there is none."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from narrows.models.bottleneck import draw_logits
from narrows.models.outputs import logits_of

__all__ = ["Guarded"]


class Guarded(nn.Module):
    """Gradients are zero where there is no graph or they are NaN: an attack goes on, and fails.

    Logits are of the images' own precision, whatever the model computes in.

    Args:
        model: a `Subject`, or a view of one.
        dtype: of the images that an attack is to work in; `None` for that of the audit.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[n, classes]`."""
        return self._guard(x, lambda x: logits_of(self.model, x))

    def draw_logits(self, x: Tensor, count: int) -> Tensor:
        """Logits `[count, n, classes]` of `count` passes."""
        return self._guard(x, lambda x: draw_logits(self.model, x, count))

    def _guard(self, x: Tensor, look: Callable[[Tensor], Tensor]) -> Tensor:
        if not torch.is_grad_enabled():
            return look(x).to(x.dtype)
        x = x.view_as(x)
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient.nan_to_num(0, 0, 0))
        logits = look(x).to(x.dtype)
        return logits if logits.requires_grad else logits + 0 * x.flatten(1).sum(1, keepdim=True)
