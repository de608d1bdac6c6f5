"""Confidence penalty: predictions of low entropy are penalised."""

from __future__ import annotations

from narrows.methods._base import Method
from narrows.types import Batch, ModelOutput, Term

__all__ = ["ConfidencePenalty"]


class ConfidencePenalty(Method):
    """Confidence penalty: cross-entropy minus the entropy of the prediction.

        L = E[-log q(y|x)] - beta * E_x H(q(y|x))

    Source: Pereyra, Tucker, Chorowski, Kaiser & Hinton (2017), arXiv 1701.06548, section 3.

    Conversions: beta is the paper's own. Up to the logarithm of the number of classes the penalty
    is KL(q(y|x) || u) with u uniform: label smoothing with the arguments of the divergence
    exchanged.

    Deviations: none from the plain penalty; the paper's annealing and its threshold on the entropy
    are left out.

    Args:
        beta: weight of the penalty. The larger it is, the less certain is the prediction of least
            loss: at beta = 1 and two classes it gives the label 78 %.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 2)
        >>> method = ConfidencePenalty(beta=0.1)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Pereyra et al. 2017, arXiv 1701.06548"
    default_betas = (0.01, 0.03, 0.1, 0.3, 1.0)

    def __init__(self, beta: float) -> None:
        super().__init__(beta)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """-H(q(y|x)) in nats, averaged over the batch and over draws."""
        log_q = output.logits.log_softmax(-1)
        return {"negative_entropy": Term((log_q.exp() * log_q).sum(-1).mean(), self.beta)}
