"""Reading what a model returns: a plain tensor of logits, or a `ModelOutput`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from narrows.errors import InputError
from narrows.types import ModelOutput

__all__ = ["as_output", "average_logits", "logits_of"]


def as_output(result: object) -> ModelOutput:
    """Wrap the result of any classifier's forward pass as a `ModelOutput`.

    Raises:
        InputError: if it is neither a tensor `[..., batch, classes]` nor a `ModelOutput`.
    """
    if isinstance(result, ModelOutput):
        return result
    if isinstance(result, Tensor) and result.dim() >= 2:
        return ModelOutput(result)
    got = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
    raise InputError(f"a model must return logits [batch, classes] or a ModelOutput, got {got}")


def average_logits(logits: Tensor) -> Tensor:
    """Log of the probabilities averaged over every leading axis: `[..., B, C] -> [B, C]`.

    These are logits again: their softmax is the mean of the softmaxes. Without a leading axis the
    logits are returned unchanged.
    """
    if logits.dim() == 2:
        return logits
    log_p = logits.flatten(0, -3).log_softmax(-1)
    return torch.logsumexp(log_p, 0) - math.log(log_p.shape[0])


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """Logits `[batch, classes]` of any classifier, averaged over draws where it returns several."""
    return average_logits(as_output(model(x)).logits)
