"""Squared distances of all pairs of a batch, with a gradient that is cheap for wide layers.

    d_ij = |x_i - x_j|^2,   dL/dx = 2 (diag(S 1) - S) x,   S = dL/dd + (dL/dd)'

The forward and the backward pass each cost one matrix product with x; the forward pass mirrors a
quarter of its symmetric result instead of computing it. Distances do not depend on the mean of x,
but rounding errors do, so the mean is subtracted first: in blocks of columns, without a second copy
of x in memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["squared_distances"]

_COLUMNS = 16384  # smaller blocks cost time on several threads, larger ones memory


def squared_distances(x: Tensor) -> Tensor:
    """|x_i - x_j|^2 of `x: [m, D]`: `[m, m]`, at least 0, differentiable, also under vmap.

    Example:
        >>> squared_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
        tensor([[ 0., 25.],
                [25.,  0.]])
    """
    distances: Any = _SquaredDistances.apply(x)
    return distances


class _SquaredDistances(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        m = len(x)
        average = torch.full((1, m), 1 / m, dtype=x.dtype, device=x.device)
        gram = torch.zeros((), dtype=x.dtype, device=x.device)
        right, top = gram, gram
        for columns in x.split(_COLUMNS, -1):
            centred = columns - average @ columns
            above, below = centred.split([m // 2, m - m // 2])
            right, top = right + centred @ below.mT, top + above @ above.mT
        above, below = right.split([m // 2, m - m // 2])
        gram = torch.cat([torch.cat([top, above.mT]), right], 1)
        squares = gram.diagonal()
        return (squares[:, None] + squares - 2 * gram).clamp_min(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        (grad,) = grad_outputs
        both = grad + grad.mT
        return 2 * (torch.diag(both.sum(-1)) - both) @ x
