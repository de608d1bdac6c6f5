"""IB-RAR: the information bottleneck as a regulariser of chosen layers, and a channel mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn

from narrows.checks import ArrayLike, check_count
from narrows.errors import ConfigError, InputError, unknown_name
from narrows.methods._mask import (
    CODED_COUNT,
    Mask,
    Masked,
    certain,
    channel_mask,
    find_layer,
    masking,
)
from narrows.methods._nhsic import LabelKernel, LayerDependence
from narrows.models.evaluating import evaluating
from narrows.models.layers import as_written
from narrows.types import Batch, ModelOutput, Term

__all__ = ["IBRAR"]

AdversarialTraining = Literal["pgd_training", "trades", "mart"]

_PAPER = {"vgg16": 1.0, "resnet18": 5e-4}
_EVERY = 10


class IBRAR(LayerDependence):
    """IB-RAR: the information bottleneck as a regulariser of chosen layers, and a channel mask.

        L = E[-log q(y|x)] + alpha sum_l I(X, T_l) - beta_paper sum_l I(Y, T_l)
        T_last <- phi T_last,   phi_c = [I(f_c, Y) >= its 5 % quantile over the channels c]

    Source: Xu, Perin & Picek (2022), arXiv 2302.10896, eqs. 1 and 3. "I" is normalised HSIC with
    Gaussian kernels of bandwidth 5 sqrt(dim) and eps = 1e-5, on batches of 100
    (`narrows.information.hsic`). It is not an information: its value depends on all three. With
    adversarial training (eq. 2) the first term is the adversarial loss, and the other terms stay on
    clean images: `TRADES(IBRAR(...))`. The published code reads layers of adversarial images there:
    `TRADES.ib_rar(IBRAR.as_coded("trades"))`.

    Conversions: beta = alpha, relevance = beta_paper / alpha, so that beta = 0 is cross-entropy.
    `label_weight` is beta_paper itself: the row of Table 4 without I(X, T_l) is `IBRAR(0.0,
    label_weight=0.08)`.

    The paper's text and its published code differ; both are available:

    - `paper`: alpha = 1 and beta_paper = 0.1 for VGG16, 5e-4 and 5e-5 for ResNet-18. Elsewhere the
      text says alpha = 0.1 beta_paper, so the two numbers may be swapped.
    - `as_coded`: alpha = 0.008 and beta_paper = 0.08; the kernel of the labels is linear with PGD
      training and, without adversarial training, with the mask (the network of 35.86 % in Table 3);
      it is Gaussian in TRADES, in MART and without the mask. The authors' VGG16 has batch
      normalisation in its dense layers and takes images in [0, 1] as they are: `VGG16(...,
      fc_norm=True, normalise=False)`.
    - `mask="paper"`: eq. 3 in every training pass, from the labels of the batch. In evaluation
      there are no labels: `masked(model, x, y)` keeps the channels that a labelled batch selects.
    - `mask="as_coded"`: in every tenth batch only, for one pass, after the pooling that follows the
      last convolution. It drops the 10 channels that depend least on the labels, whose kernel is
      Gaussian here, and the 10 that depend most on the images; the last channel is never scored.
      Never in evaluation.

    To find robust layers, the paper trains one network for each layer, with `layers=[that layer]`,
    and attacks it (`narrows.papers.ib_rar`). Its robust layers of VGG16 are the fifth block of
    convolutions and the first two dense layers.

    Deviations: the published code restarts the count of batches in every epoch; here it continues.
    A stack computes the scores of the channels in every batch, since its members cannot take
    different paths. The inner attack of adversarial training sees the model without the mask.

    Args:
        beta: alpha, weight of the dependence on the inputs.
        relevance: beta_paper / alpha, the weight of the dependence on the labels relative to beta;
            the default is that of the published code. With the text's 0.1 a network may not learn
            at all.
        layers: names of the hidden layers; `None` for the layers that the model is tapped at, or
            else for all hidden layers (see `narrows.models.hidden`) and the code of a bottleneck.
        label_kernel: `"gaussian"` or `"linear"`, on one-hot labels.
        eps: ridge of the normalisation.
        label_weight: beta_paper itself; `None` for relevance * beta. A ramp of beta does not change
            it.
        mask: which channel mask is used in training, `"paper"` or `"as_coded"`; `None` for none.
        mask_layer: name of the layer whose channels `[batch, channels, ...]` are masked; `None` for
            the last convolution, with the normalisation and activation that are registered right
            after it. In a residual network, name the last block. The channels of a dense layer are
            its units.
        mask_channels: how many channels of each kind `mask="as_coded"` drops, at most a quarter of
            them; the code has 10 for layers of 512 channels, and a narrower network may have fewer.

    Raises:
        ConfigError: for numbers out of range, and in the forward pass for an unknown layer.
        InputError: for a model whose hidden layers cannot be found, or without a convolution to
            mask.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> method = IBRAR.as_coded(layers=["1"])
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Xu et al. 2022, arXiv 2302.10896"
    couples = "HSIC compares all inputs of a batch"
    default_betas = (1e-3, 1e-2, 0.1, 1.0)
    batches: Tensor

    def __init__(
        self,
        beta: float,
        relevance: float = 10.0,
        layers: Sequence[str] | None = None,
        label_kernel: LabelKernel = "gaussian",
        eps: float = 1e-5,
        mask: Mask | None = None,
        mask_layer: str | None = None,
        label_weight: float | None = None,
        mask_channels: int = CODED_COUNT,
    ) -> None:
        super().__init__(beta, relevance, layers, label_kernel, eps, label_weight)
        if mask is not None and mask not in get_args(Mask):
            raise unknown_name("mask", mask, get_args(Mask))
        if mask is None and mask_layer is not None:
            raise ConfigError(f"mask_layer={mask_layer!r} needs a mask: 'paper' or 'as_coded'")
        self.mask: Mask | None = mask
        self.mask_layer = mask_layer
        self.mask_channels = check_count(mask_channels, "mask_channels")
        if mask == "as_coded":
            self.register_buffer("batches", torch.tensor(0))

    @classmethod
    def paper(
        cls,
        network: Literal["vgg16", "resnet18"],
        layers: Sequence[str] | None = None,
        mask_layer: str | None = None,
        *,
        mask: bool = False,
    ) -> Self:
        """The weights that the paper's text gives for a network.

        Args:
            network: name of the network.
            layers: as in the constructor.
            mask_layer: as in the constructor.
            mask: whether the paper's channel mask is used.

        Raises:
            ConfigError: for another network.
        """
        if network not in _PAPER:
            raise unknown_name("network", network, _PAPER)
        kind = "paper" if mask else None
        return cls(_PAPER[network], 0.1, layers, mask=kind, mask_layer=mask_layer)

    @classmethod
    def as_coded(
        cls,
        adversarial: AdversarialTraining | None = None,
        layers: Sequence[str] | None = None,
        mask_layer: str | None = None,
        *,
        mask: bool = False,
    ) -> Self:
        """The weights and the label kernel of the published code.

        Args:
            adversarial: the adversarial training that wraps the method, `"pgd_training"`,
                `"trades"` or `"mart"`; `None` for none.
            layers: as in the constructor.
            mask_layer: as in the constructor.
            mask: whether the channel mask of the code is used.

        Raises:
            ConfigError: for another kind of adversarial training.
        """
        if adversarial not in (None, *get_args(AdversarialTraining)):
            raise unknown_name(
                "adversarial training", str(adversarial), get_args(AdversarialTraining)
            )
        linear = mask if adversarial is None else adversarial == "pgd_training"
        kernel: LabelKernel = "linear" if linear else "gaussian"
        kind = "as_coded" if mask else None
        return cls(0.008, 10.0, layers, kernel, mask=kind, mask_layer=mask_layer)

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Run the model, with masked channels in training, and read its hidden layers."""
        due = self._due()
        if self.mask is None or not model.training or not (due is None or certain(due) != 0):
            return super().observe(model, batch)
        kind = self.mask

        def mask_of(features: Tensor) -> Tensor:
            mask = channel_mask(features, batch, kind, self.eps, self.mask_channels)
            return mask if due is None else mask | ~due

        with masking(self._masked_layer(model)[1], mask_of):
            return super().observe(model, batch)

    def _masked_layer(self, model: nn.Module) -> tuple[str, nn.Module]:
        return find_layer(model, self.mask_layer, pooled=self.mask == "as_coded")

    def _due(self) -> Tensor | None:
        """Whether this batch is masked, a scalar; None where every batch is."""
        if self.mask != "as_coded":
            return None
        return (self.batches > 0) & (self.batches % _EVERY == 0)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The two sums over layers; that of the labels has a negative weight."""
        if self.mask == "as_coded" and self.training:
            # Counted here, since adversarial training calls `observe` twice per batch.
            with torch.no_grad():
                self.batches.add_(1)
        return super().regulariser(output, batch)

    def masked(self, model: nn.Module, x: ArrayLike, y: ArrayLike) -> Masked:
        """The model without the channels that the mask drops on a labelled batch, for evaluation.

        They are those of eq. 3, or with `mask="as_coded"` those of the published code.

        Args:
            model: any classifier; its weights are shared, not copied.
            x: `[n, ...]`, a batch of training images.
            y: `[n]`, their labels.

        Raises:
            InputError: for a model without convolutions, where `mask_layer` names no other layer.
        """
        batch = self.check(model, x, y)
        name, layer = self._masked_layer(model)
        seen: list[Tensor] = []

        def mask_of(features: Tensor) -> Tensor:
            kind = self.mask or "paper"
            seen.append(channel_mask(features, batch, kind, self.eps, self.mask_channels))
            return seen[-1]

        with torch.no_grad(), evaluating(model), as_written(model), masking(layer, mask_of):
            model(batch.x)
        if not seen:
            raise InputError(f"the forward pass of the model never runs its layer {name!r}")
        return Masked(model, name, seen[-1])

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return (
            f"{super().extra_repr()}, mask={self.mask!r}, mask_layer={self.mask_layer!r}, "
            f"mask_channels={self.mask_channels}"
        )
