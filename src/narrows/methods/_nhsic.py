"""What HBaR and IB-RAR share: hidden layers, and their normalised HSIC with inputs and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.errors import InputError
from narrows.information.hsic import gaussian_kernel, linear_kernel, normalise_kernel
from narrows.models.hidden import hidden_layers
from narrows.models.outputs import as_output
from narrows.models.tap import Tap, tap
from narrows.types import Batch, ModelOutput

__all__ = ["LabelKernel", "layer_dependence", "observe_layers"]

LabelKernel = Literal["gaussian", "linear"]

_CODE = "nhsic.code"


def observe_layers(model: nn.Module, x: Tensor, layers: Sequence[str] | None) -> ModelOutput:
    """Run the model once and read its hidden layers.

    Args:
        model: any classifier; what a tapped one reads is taken where `layers` is None.
        x: `[batch, ...]`.
        layers: names as in `model.named_modules()`; `None` for all hidden layers, the code of a
            bottleneck among them.

    Raises:
        InputError: if no layers can be told.
        ConfigError: for a layer that the model does not have.
    """
    if layers is None and isinstance(model, Tap) and model.layers:
        return as_output(model(x))
    names = hidden_layers(model) if layers is None else list(layers)
    if not names:
        raise InputError(
            f"{type(model).__name__} has no hidden layers that can be told from its modules; "
            "name some with layers=[...], or use tap(model, [...]) or Bottleneck(encoder, decoder)"
        )
    output = tap(model, names)(x)
    if layers is None and output.latent is not None:
        activations = {**output.activations, _CODE: output.latent.z}
        return output._replace(activations=activations)
    return output


def layer_dependence(
    output: ModelOutput, batch: Batch, label_kernel: LabelKernel, eps: float
) -> tuple[Tensor, Tensor]:
    """Sums over the layers of nHSIC(X, T_l) and nHSIC(Y, T_l), two scalars without a unit.

    Raises:
        InputError: for an output without activations, or one whose activations have a samples axis.
    """
    layers = list(output.activations.values())
    if not layers:
        raise InputError(
            "the output has no hidden layers to regularise; observe the model through the method, "
            "or use tap(model, [...])"
        )
    if any(len(layer) != len(batch.y) for layer in layers):
        raise InputError(
            f"expected layers of {len(batch.y)} images, got {[len(layer) for layer in layers]}; "
            "a model with a samples axis cannot be regularised here"
        )
    labels = F.one_hot(batch.y, output.logits.shape[-1]).to(batch.x.dtype)
    of_labels = gaussian_kernel(labels) if label_kernel == "gaussian" else linear_kernel(labels)
    seen = [gaussian_kernel(values.flatten(1)) for values in (batch.x, *layers)]
    # One batched factorisation for all of them.
    kernels = normalise_kernel(torch.stack([of_labels, *seen]), eps)
    total = kernels[2:].sum(0)
    of_y, of_x = ((kernels[i] * total).sum().to(batch.x.dtype) for i in (0, 1))
    return of_x, of_y
