"""Jacobian penalty: logits that change little with the input."""

from __future__ import annotations

from torch import Tensor, nn

from narrows.methods._base import Method
from narrows.methods._input_gradient import input_gradient
from narrows.models.noise import standard_normal
from narrows.models.precision import at_least_float32
from narrows.types import Batch, ModelOutput, Term

__all__ = ["JacobianPenalty"]

_PROJECTED = "jacobian_penalty.projected"


class JacobianPenalty(Method):
    """Jacobian penalty: cross-entropy plus the squared norm of the logits' Jacobian.

        L = E[-log q(y|x)] + beta * E_x |d logits(x) / dx|_F^2
        |J|_F^2 = C * E_v |v^T J|^2,    v uniform on the unit sphere of the C classes

    Source: Hoffman, Roberts & Yaida (2019), arXiv 1908.02729, Algorithm 1. It measures no
    information, and is the control that a bottleneck must be compared with: a smoother function of
    the input is more robust in truth, without any obfuscation of gradients.

    Conversions: beta is half of their weight. The norm is in units of logits per unit of the [0, 1]
    image range.

    Deviations: none. As in their experiments, each image has one random v a step.

    Args:
        beta: weight of the penalty.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 2)
        >>> method = JacobianPenalty(beta=0.1)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Hoffman et al. 2019, arXiv 1908.02729"
    randomness = "the projection of the Jacobian"
    default_betas = (0.001, 0.003, 0.01, 0.03, 0.1)

    def __init__(self, beta: float) -> None:
        super().__init__(beta)

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Run the model and add v^T J, in the shape of x, to its output."""
        output, gradient = input_gradient(model, batch.x, _projection, twice=True)
        return output._replace(activations={**output.activations, _PROJECTED: gradient})

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The squared Frobenius norm of the Jacobian, averaged over the batch."""
        projected = at_least_float32(output.activations[_PROJECTED])
        norm = output.logits.shape[-1] * projected.flatten(1).square().sum(1)
        return {"jacobian_norm": Term(norm.mean(), self.beta)}


def _projection(output: ModelOutput) -> Tensor:
    """v^T logits, averaged over draws of a stochastic code."""
    logits = output.logits
    logits = logits if logits.dim() == 2 else logits.flatten(0, -3).mean(0)
    direction = standard_normal(logits.shape, logits)
    return (logits * direction / direction.norm(dim=-1, keepdim=True)).sum(-1)
