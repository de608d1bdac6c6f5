"""Confidence penalty: predictions of low entropy cost.

    L = E[-log q(y|x)] - beta * E_x H(q(y|x))

Source: Pereyra, Tucker, Chorowski, Kaiser & Hinton (2017), arXiv 1701.06548, section 3.

Conversions: the paper's own beta. It is label smoothing with the divergence turned round: up to the
logarithm of the number of classes the penalty is KL(q(y|x) || u). As published, without annealing
or a threshold on the entropy.
"""

from __future__ import annotations

from typing import ClassVar

from narrows.methods._base import Method
from narrows.types import Batch, ModelOutput, Term

__all__ = ["ConfidencePenalty"]


class ConfidencePenalty(Method):
    """Cross-entropy and the negative entropy of the prediction.

    Args:
        beta: weight of the penalty; the larger, the less certain is the prediction of least loss
            (78 % for the label of two classes at 1).

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 2)
        >>> method = ConfidencePenalty(beta=0.1)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    default_betas: ClassVar[tuple[float, ...]] = (0.01, 0.03, 0.1, 0.3, 1.0)

    def __init__(self, beta: float) -> None:
        super().__init__(beta)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """-H(q(y|x)) in nats, averaged over the batch and over draws."""
        log_q = output.logits.log_softmax(-1)
        return {"negative_entropy": Term((log_q.exp() * log_q).sum(-1).mean(), self.beta)}
