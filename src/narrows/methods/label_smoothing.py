"""Label smoothing: a share of each label is spread evenly over all classes."""

from __future__ import annotations

import math
from typing import Self

from narrows.errors import ConfigError
from narrows.methods._base import Method
from narrows.types import Batch, ModelOutput, Term

__all__ = ["LabelSmoothing"]


class LabelSmoothing(Method):
    """Label smoothing: a share of each label is spread evenly over all classes.

        L = E[-log q(y|x)] + beta * E_x KL(u || q(y|x)),   u_k = 1 / classes

    Source: Szegedy, Vanhoucke, Ioffe, Shlens & Wojna (2016), arXiv 1512.00567, section 7; as a
    divergence: Pereyra, Tucker, Chorowski, Kaiser & Hinton (2017), arXiv 1701.06548, section 3.2.

    Conversions: beta = s / (1 - s) for a smoothing s, computed by `from_smoothing(s)`:
    cross-entropy with the targets (1 - s) 1_y + s u equals (1 - s) L up to a constant.

    Deviations: L is larger than that cross-entropy by the factor 1 / (1 - s). An optimiser that
    divides by the size of the gradient, such as Adam, takes the same steps.

    Args:
        beta: weight of the divergence, s / (1 - s) for a smoothing of s.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 2)
        >>> method = LabelSmoothing.from_smoothing(0.1)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Szegedy et al. 2016, arXiv 1512.00567"
    default_betas = (0.01, 0.03, 0.1, 0.3, 1.0)

    def __init__(self, beta: float) -> None:
        super().__init__(beta)

    @classmethod
    def from_smoothing(cls, smoothing: float) -> Self:
        """Build the method from s, the share of each label that is spread out, in [0, 1)."""
        if not 0 <= smoothing < 1:
            raise ConfigError(f"smoothing must lie in [0, 1), got {smoothing}")
        return cls(smoothing / (1 - smoothing))

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """KL(u || q(y|x)) in nats, averaged over the batch and over draws."""
        log_q = output.logits.log_softmax(-1)
        divergence = -log_q.mean() - math.log(log_q.shape[-1])
        return {"uniform_divergence": Term(divergence, self.beta)}
