"""Conversions of a model's result: a plain tensor of logits, or a `ModelOutput`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from narrows.checks import check_dense
from narrows.errors import InputError
from narrows.types import Latent, ModelOutput

__all__ = ["as_output", "average_logits", "logits_of", "pack", "unpack"]


def as_output(result: object) -> ModelOutput:
    """Wrap the result of any classifier's forward pass as a `ModelOutput`.

    Raises:
        InputError: if it is neither a tensor `[..., batch, classes]` nor a `ModelOutput`. Where it
            contains the logits, as the outputs of Hugging Face or a tuple do, the error shows how
            `adapt` picks them. Likewise for sparse, nested or quantized logits.

    >>> as_output(torch.zeros(8, 10)).logits.shape
    torch.Size([8, 10])
    """
    if isinstance(result, ModelOutput):
        return result
    if isinstance(result, Tensor) and check_dense(result, "logits").dim() >= 2:
        return ModelOutput(result)
    got = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
    raise InputError(
        f"a model must return logits [batch, classes] or a ModelOutput, got {got}{_remedy(result)}"
    )


def _remedy(result: object) -> str:
    """What to write instead, where the result contains the logits."""
    if isinstance(result, Tensor) and result.dim() == 1:
        return (
            "; for one score per image, that of the second of two classes, return "
            "torch.stack([torch.zeros_like(score), score], -1)"
        )
    pick = _pick(result)
    return "" if pick is None else f"; write narrows.adapt(model, logits={pick!r})"


def _pick(result: object) -> str | int | None:
    """Where the logits are in a result, as `adapt` takes it; `None` where there are none."""
    if isinstance(result, Mapping):
        keys = [key for key, value in result.items() if _may_be_logits(value)]
        return "logits" if "logits" in keys else next(iter(keys), None)
    if isinstance(getattr(result, "logits", None), Tensor):
        return "logits"
    if isinstance(result, (tuple, list)):
        return next((i for i, value in enumerate(result) if _may_be_logits(value)), None)
    return None


def _may_be_logits(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() == 2 and value.is_floating_point()


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


def pack(output: ModelOutput) -> dict[str, Tensor]:
    """Flatten an output to named tensors, without the parts that are None."""
    parts = {"logits": output.logits}
    if output.latent is not None:
        fields = output.latent._asdict().items()
        parts |= {f"latent.{name}": value for name, value in fields if value is not None}
    return parts | {f"activations.{name}": value for name, value in output.activations.items()}


def unpack(parts: Mapping[str, Tensor]) -> ModelOutput:
    """Inverse of `pack`."""
    groups: dict[str, dict[str, Tensor]] = {"latent": {}, "activations": {}}
    for name, value in parts.items():
        group, _, key = name.partition(".")
        if key:
            groups[group][key] = value
    latent = Latent(**groups["latent"]) if groups["latent"] else None
    return ModelOutput(parts["logits"], latent, groups["activations"])
