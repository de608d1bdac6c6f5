"""TRADES: cross-entropy on clean images, and a prediction that is stable around each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, get_args

from torch import Tensor, nn

from narrows.errors import ConfigError
from narrows.methods._base import Method
from narrows.methods.adversarial._base import (
    Images,
    Inner,
    Mode,
    Regularise,
    Start,
    Variant,
    VariantOptions,
    WithDivergence,
    divergence,
)
from narrows.models.outputs import logits_of
from narrows.models.precision import at_least_float32
from narrows.types import Batch, ModelOutput, Term

__all__ = ["TRADES"]


class TRADES(WithDivergence):
    """TRADES: cross-entropy on clean images, and a prediction that is stable around each of them.

        L = E[-log q(y|x)] + weight * E max_{|x' - x|_inf <= eps} KL(q(.|x) || q(.|x'))
            + regulariser(x)

    Source: Zhang, Yu, Jiao, Xing, El Ghaoui & Jordan (2019), arXiv 1901.08573, Algorithm 1. The
    inner attack raises the same divergence, from a normal perturbation of standard deviation 0.001,
    with the model in evaluation mode. Gradients pass through both predictions.

    Conversions: weight is their 1 / lambda; the default, 6, is that of their experiments.
    `TRADES.ib_rar` is the variant in the published code of Xu, Perin & Picek (2022), arXiv
    2302.10896: cross-entropy on the adversarial images, weight 0.5, eps 0.03 in 10 steps of 2.3 eps
    / 10 that raise the cross-entropy from a uniformly random point, and `regularise="as_coded"`.

    Args:
        method: whose prediction loss and regulariser are used.
        eps: Linf radius, in units of the [0, 1] image range.
        steps: gradient steps of the inner attack.
        step_size: length of one step; `None` for 2.5 * eps / steps.
        mode: mode of the model under attack, `"eval"` or `"train"`.
        regularise: which images the wrapped method's regulariser sees: `"clean"`, `"adversarial"`,
            or `"as_coded"`, the clean images with the layers of clean and of adversarial ones.
        weight: of the divergence.
        predict: which images the prediction loss is taken on, `"clean"` or `"adversarial"`.
        start: where the inner attack begins, `"normal"` or `"uniform"` in the ball.
        inner: what the inner attack raises, `"divergence"` or `"cross_entropy"`.

    Raises:
        ConfigError: for numbers out of range, unknown words, or a method that is adversarial
            already.
        InputError: for images outside [0, 1].

    Example:
        >>> import torch
        >>> from narrows.methods import IBRAR
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> method = TRADES(IBRAR.as_coded("trades"), eps=0.1, steps=5)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Zhang et al. 2019, arXiv 1901.08573"
    tracked: ClassVar[Images] = "clean"
    variants: ClassVar[Mapping[Variant, VariantOptions]] = {
        "ib_rar": VariantOptions(
            eps=0.03,
            steps=10,
            step_size=2.3 * 0.03 / 10,
            weight=0.5,
            predict="adversarial",
            inner="cross_entropy",
            start="uniform",
            regularise="as_coded",
        )
    }

    def __init__(
        self,
        method: Method,
        eps: float = 8 / 255,
        steps: int = 10,
        step_size: float | None = None,
        mode: Mode = "eval",
        regularise: Regularise = "clean",
        weight: float = 6.0,
        predict: Images = "clean",
        start: Start = "normal",
        inner: Inner = "divergence",
    ) -> None:
        super().__init__(method, eps, steps, step_size, mode, regularise, weight, start)
        if predict not in get_args(Images):
            raise ConfigError(f"TRADES needs predict 'clean' or 'adversarial', got {predict!r}")
        if inner not in get_args(Inner):
            raise ConfigError(f"TRADES needs inner 'divergence' or 'cross_entropy', got {inner!r}")
        self.predict: Images = predict
        self.inner: Inner = inner

    def objective(self, model: nn.Module, batch: Batch) -> Callable[[Tensor], Tensor]:
        """The divergence from the clean prediction, which gets no gradient, or as `inner` says."""
        if self.inner == "cross_entropy":
            return super().objective(model, batch)
        clean = ModelOutput(at_least_float32(logits_of(model, batch.x).detach()))
        return lambda logits: divergence(clean, ModelOutput(logits)).sum()

    def prediction_loss(self, output: ModelOutput, y: Tensor) -> Tensor:
        """The wrapped method's, on the clean images unless `predict` says otherwise."""
        clean, adversarial = self.split(output)
        return self.method.prediction_loss(clean if self.predict == "clean" else adversarial, y)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The wrapped method's terms and the divergence in nats."""
        value = divergence(*self.split(output)).mean()
        return {**super().regulariser(output, batch), "trades": Term(value, self.weight)}

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return f"{super().extra_repr()}, predict={self.predict!r}, inner={self.inner!r}"
