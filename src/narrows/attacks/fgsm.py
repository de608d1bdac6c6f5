"""Fast gradient sign method (FGSM): one gradient step of the full radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import FixedEps
from narrows.attacks.losses import resolve_loss
from narrows.attacks.norms import steepest
from narrows.attacks.query import Query

__all__ = ["FGSM"]


@dataclass(frozen=True, kw_only=True)
class FGSM(FixedEps):
    """Fast gradient sign method: one step of the full radius along the steepest direction.

        x_adv = clip(x + eps * sign(grad_x L(x, y)))

    With `norm="l2"` the sign becomes the normalised gradient. Where a target is given, the loss of
    the target is descended.

    Source: Goodfellow, Shlens & Szegedy (2015), arXiv 1412.6572, section 4. The
    information-bottleneck papers call it "FGS" and, towards a target, "TGS".

    One step is not a test of robustness. The attack is here because the papers report it, and
    because an attack of many steps that does worse is broken.

    Args:
        eps: radius, in units of the [0, 1] image range.
        loss: `"cross_entropy"`, `"margin"`, `"probability_margin"` or `"dlr"`.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.5]]), torch.tensor([0])
        >>> FGSM(eps=0.1)(model, x, y).success
        tensor([True])
    """

    source: ClassVar[str] = "Goodfellow et al. 2015, arXiv 1412.6572"
    randomness: ClassVar[str] = "none"
    stackable: ClassVar[bool] = True

    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        resolve_loss(self.loss)

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(eps=0.15)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Take the one step.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: not used.
        """
        rows = torch.arange(len(x), device=x.device)
        loss = resolve_loss(self.loss, query.classes, targeted=query.targeted)
        gradient = query.ascend(x, rows, loss).gradient
        return self.clip(x + self.eps * steepest(gradient, self.norm), x)
