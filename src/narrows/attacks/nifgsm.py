"""NI-FGSM: iterative fast gradient sign with Nesterov's momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import FixedEps, Limits
from narrows.attacks._best import Best
from narrows.attacks.losses import resolve_loss
from narrows.attacks.norms import dual_size, per_image
from narrows.attacks.pgd import Look, climb
from narrows.attacks.query import Query

__all__ = ["NIFGSM"]


@dataclass(frozen=True, kw_only=True)
class NIFGSM(FixedEps):
    """Nesterov iterative FGSM: steps along a momentum, whose gradients are taken one step ahead.

        g     <- decay * g + grad L(x_adv + step_size * decay * g) / mean|grad L(...)|
        x_adv <- clip(x_adv + step_size * sign(g))

    With `norm="l2"` the sign becomes the normalised `g`. Where a target is given, the loss of the
    target is descended.

    Source: Lin et al. (2020), arXiv 1908.06281, eq. 6-8. The momentum is made for attacks that
    transfer to other models. Against the model itself ten such steps are a weak attack, and cannot
    show that gradients are masked.

    Deviations: the gradient is divided by its mean absolute entry, not by the sum of all of them:
    with the sum, the look-ahead would vanish as images grow, while the sign is the same. The
    look-ahead is clipped into the ball like the step. An image leaves once it fools the model at
    the point where a gradient is taken, and the best of these points is returned.

    Args:
        eps: radius, in units of the [0, 1] image range.
        steps: gradient steps.
        decay: share of the accumulated gradient that is kept at each step; 0 for none.
        step_size: length of a step; `None` for eps / steps.
        loss: `"cross_entropy"`, `"margin"`, `"probability_margin"` or `"dlr"`.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.5]]), torch.tensor([0])
        >>> NIFGSM(eps=0.1)(model, x, y).robust_accuracy
        0.0
    """

    source: ClassVar[str] = "Lin et al. 2020, arXiv 1908.06281"
    randomness: ClassVar[str] = "none"

    steps: int = 10
    decay: float = 1.0
    step_size: float | None = None
    loss: str = "cross_entropy"

    limits: ClassVar[Limits] = {
        **FixedEps.limits,
        "decay": {"low": 0},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        resolve_loss(self.loss)

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(eps=0.1)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Take the gradient one step ahead, add it to the momentum, and step.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: not used.
        """
        best, loss = Best(x), resolve_loss(self.loss, query.classes, targeted=query.targeted)
        step_size = self.eps / self.steps if self.step_size is None else self.step_size
        momentum = torch.zeros_like(x)

        def look(x_adv: Tensor, rows: Tensor) -> Look:
            ahead = self.clip(x_adv + step_size * self.decay * momentum[rows], x[rows])
            value, gradient, logits = query.ascend(ahead, rows, loss)
            momentum[rows] = self.decay * momentum[rows] + _levelled(gradient)
            return Look(ahead, value, momentum[rows], logits)

        rows = torch.arange(len(x), device=x.device)
        climb(
            *(self, query, best, x, rows, x, loss),
            steps=self.steps,
            step_size=step_size,
            look=look,
        )
        return best.x


def _levelled(gradient: Tensor) -> Tensor:
    """The gradient with mean absolute entry 1; zero stays zero."""
    mean = dual_size(gradient, "linf") / gradient[0].numel()
    return gradient / per_image(mean, gradient).clamp_min(torch.finfo(gradient.dtype).tiny)
