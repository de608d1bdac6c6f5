"""IB-RAR: the information bottleneck as a regulariser of those layers that make a network robust.

    L = E[-log q(y|x)] + alpha sum_l I(X, T_l) - beta_paper sum_l I(Y, T_l)

Source: Xu, Perin & Picek (2022), arXiv 2302.10896, eq. 1. "I" is normalised HSIC with Gaussian
kernels of bandwidth 5 sqrt(dim) and eps = 1e-5, on batches of 100 (`narrows.information.hsic`),
which is no information: its value depends on all three. With adversarial training (eq. 2) the first
term is the adversarial loss and the others stay on clean images: `TRADES(IBRAR.as_coded(), ...)`.

Conversions: beta = alpha, relevance = beta_paper / alpha, so that beta = 0 is cross-entropy.

The text and what produced its numbers differ, so both are here:

- `paper`: alpha = 1 and beta_paper = 0.1 for VGG16, 5e-4 and 5e-5 for ResNet-18. The text says
  alpha = 0.1 beta_paper before that, so the two look swapped.
- `as_coded`: alpha = 0.008 and beta_paper = 0.08; the kernel of the labels is linear with
  adversarial training and Gaussian without.

Which layers are robust is found by training one network for each layer, with `layers=[that one]`,
and attacking it; published for VGG16 are the fifth block of convolutions and the first two dense
layers. The channel mask of eq. 3 is not part of this method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from torch import nn

from narrows.errors import ConfigError, unknown_name
from narrows.methods._base import Method
from narrows.methods._nhsic import LabelKernel, layer_dependence, observe_layers
from narrows.types import Batch, ModelOutput, Term

__all__ = ["IBRAR"]

_PAPER = {"vgg16": 1.0, "resnet18": 5e-4}


class IBRAR(Method):
    """Information bottleneck as a regulariser, on chosen layers.

    Args:
        beta: alpha, weight of the dependence on the inputs.
        relevance: the paper's beta over alpha, what the dependence on the labels weighs against
            that on the inputs; by default that of the text, while 10 produced the numbers.
        layers: names of the hidden layers; `None` for what the model is tapped at, or else for all
            of them (see `narrows.models.hidden`) and the code of a bottleneck.
        label_kernel: `"gaussian"` or `"linear"`, on one-hot labels.
        eps: ridge of the normalisation.

    Raises:
        ConfigError: for numbers out of range, and in the forward pass for an unknown layer.
        InputError: for a model in which no layers can be told.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> method = IBRAR.as_coded(layers=["1"])
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    default_betas: ClassVar[tuple[float, ...]] = (1e-3, 1e-2, 0.1, 1.0)

    def __init__(
        self,
        beta: float,
        relevance: float = 0.1,
        layers: Sequence[str] | None = None,
        label_kernel: LabelKernel = "gaussian",
        eps: float = 1e-5,
    ) -> None:
        super().__init__(beta)
        if not (0 <= relevance < math.inf and 0 < eps < math.inf):
            raise ConfigError(
                f"IBRAR needs relevance >= 0 and eps > 0, got relevance={relevance}, eps={eps}"
            )
        if label_kernel not in ("gaussian", "linear"):
            raise unknown_name("label kernel", label_kernel, ("gaussian", "linear"))
        self.relevance, self.eps = relevance, eps
        self.label_kernel: LabelKernel = label_kernel
        self.layers = None if layers is None else tuple(layers)

    @classmethod
    def paper(
        cls, network: Literal["vgg16", "resnet18"], layers: Sequence[str] | None = None
    ) -> Self:
        """The weights that the paper's text gives for a network."""
        if network not in _PAPER:
            raise unknown_name("network", network, _PAPER)
        return cls(_PAPER[network], 0.1, layers)

    @classmethod
    def as_coded(cls, adversarial: bool = False, layers: Sequence[str] | None = None) -> Self:
        """The weights that produced the paper's numbers, with adversarial training or without."""
        return cls(0.008, 10.0, layers, "linear" if adversarial else "gaussian")

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Run the model and read its hidden layers."""
        return observe_layers(model, batch.x, self.layers)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The two sums over layers; that of the labels has a negative weight."""
        of_x, of_y = layer_dependence(output, batch, self.label_kernel, self.eps)
        return {
            "nhsic_x": Term(of_x, self.beta),
            "nhsic_y": Term(of_y, -self.relevance * self.beta),
        }

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return (
            f"{super().extra_repr()}, relevance={self.relevance}, layers={self.layers}, "
            f"label_kernel={self.label_kernel!r}, eps={self.eps}"
        )
