"""The common base of HBaR and IB-RAR: normalised HSIC of hidden layers with inputs and labels.

L = E[-log q(y|x)] + beta sum_l nHSIC(X, T_l) - relevance beta sum_l nHSIC(Y, T_l)
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.checks import check_number
from narrows.errors import ConfigError, InputError, unknown_name
from narrows.information.hsic import (
    default_bandwidth,
    gaussian_kernel,
    linear_kernel,
    normalise_kernel,
)
from narrows.methods._base import Method
from narrows.methods._distances import squared_distances
from narrows.models.hidden import hidden_layers
from narrows.models.layers import unwrapped
from narrows.models.outputs import as_output
from narrows.models.precision import at_least_float32, full_precision
from narrows.models.tap import Tap, tap
from narrows.types import Batch, ModelOutput, Term

__all__ = ["LabelKernel", "LayerDependence", "label_gram", "layer_dependence", "observe_layers"]

LabelKernel = Literal["gaussian", "linear"]

_CODE = "nhsic.code"


class LayerDependence(Method):
    """Base of the methods whose hidden layers depend on the labels and not on the inputs.

    Args:
        beta: weight of the dependence on the inputs.
        relevance: weight of the dependence on the labels, relative to beta.
        layers: names of the hidden layers; `None` for the layers that the model is tapped at, or
            else for all hidden layers (see `narrows.models.hidden`) and the code of a bottleneck.
        label_kernel: `"gaussian"` or `"linear"`, on one-hot labels.
        eps: ridge of the normalisation.
        label_weight: weight of the dependence on the labels itself; `None` for relevance * beta.

    Raises:
        ConfigError: for numbers out of range, and in the forward pass for an unknown layer.
        InputError: for a model whose hidden layers cannot be found.
    """

    needs = "hidden layers"

    @abstractmethod
    def __init__(
        self,
        beta: float,
        relevance: float,
        layers: Sequence[str] | None,
        label_kernel: LabelKernel,
        eps: float,
        label_weight: float | None,
    ) -> None:
        super().__init__(beta)
        if not (0 <= relevance < math.inf and 0 < eps < math.inf):
            raise ConfigError(
                f"{type(self).__name__} needs relevance >= 0 and eps > 0, "
                f"got relevance={relevance}, eps={eps}"
            )
        if label_weight is not None:
            check_number(label_weight, "label_weight", low=0)
        if label_kernel not in get_args(LabelKernel):
            raise unknown_name("label kernel", label_kernel, get_args(LabelKernel))
        self.relevance, self.eps, self.label_weight = relevance, eps, label_weight
        self.label_kernel: LabelKernel = label_kernel
        if layers is not None and not layers:
            raise ConfigError(
                f"{type(self).__name__} with layers=() has nothing to regularise: name at least "
                "one layer, or leave layers out for all hidden ones"
            )
        self.layers = None if layers is None else tuple(layers)

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Run the model and read its hidden layers."""
        return observe_layers(model, batch.x, self.layers)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The two sums over layers; that of the labels has a negative weight."""
        of_x, of_y = layer_dependence(output, batch, self.label_kernel, self.eps)
        weight = self.relevance * self.beta if self.label_weight is None else self.label_weight
        return {"nhsic_x": Term(of_x, self.beta), "nhsic_y": Term(of_y, -weight)}

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return (
            f"{super().extra_repr()}, relevance={self.relevance}, layers={self.layers}, "
            f"label_kernel={self.label_kernel!r}, eps={self.eps}, label_weight={self.label_weight}"
        )


def observe_layers(model: nn.Module, x: Tensor, layers: Sequence[str] | None) -> ModelOutput:
    """Run the model once and read its hidden layers.

    Args:
        model: any classifier; with `layers=None`, the layers of a tapped one are those it is
            tapped at.
        x: `[batch, ...]`.
        layers: names as in `model.named_modules()`; `None` for all hidden layers and the code of a
            bottleneck.

    Raises:
        InputError: if no hidden layers can be found.
        ConfigError: for a layer that the model does not have.
    """
    if layers is None and isinstance(model, Tap) and model.layers:
        return as_output(model(x))
    names = hidden_layers(unwrapped(model)) if layers is None else list(layers)
    if not names:
        raise InputError(
            f"{type(model).__name__} has no modules that are known as hidden layers; "
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

    Args:
        output: of the model, with its hidden layers as activations.
        batch: the inputs and labels.
        label_kernel: `"gaussian"` or `"linear"`.
        eps: ridge of the normalisation.

    Raises:
        InputError: for an output without activations, or with a samples axis on them.
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
    # Rounded to bfloat16, distances are too inexact for a kernel.
    with full_precision(batch.x.device):
        batch = batch._replace(x=at_least_float32(batch.x))
        of_labels = label_gram(batch, output.logits.shape[-1], label_kernel)
        fixed = torch.stack([of_labels, gaussian_kernel(batch.x.flatten(1))])
        # Two calls: these two kernels usually have no gradient, those of the layers do.
        of_y, of_x = normalise_kernel(fixed, eps)
        converted = [layer.to(batch.x.dtype) for layer in layers]
        total = normalise_kernel(_gaussian_kernels(converted), eps).sum(0)
    return (of_x * total).sum().to(batch.x.dtype), (of_y * total).sum().to(batch.x.dtype)


def _gaussian_kernels(layers: Sequence[Tensor]) -> Tensor:
    """The `gaussian_kernel` of each layer, `[layers, batch, batch]`, at less cost."""
    per_column = [squared_distances(layer.flatten(1)) / layer[0].numel() for layer in layers]
    return (torch.stack(per_column) * (-0.5 / default_bandwidth(1) ** 2)).exp()


def label_gram(batch: Batch, classes: int, kind: LabelKernel) -> Tensor:
    """Kernel of the one-hot labels, `[batch, batch]`, in the precision of the inputs.

    Args:
        batch: the inputs and labels.
        classes: number of classes.
        kind: `"gaussian"` or `"linear"`.
    """
    labels = F.one_hot(batch.y, classes).to(batch.x.dtype)
    return gaussian_kernel(labels) if kind == "gaussian" else linear_kernel(labels)
