"""MultiTargeted: projected gradient descent towards every other class in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import FixedEps
from narrows.attacks._targets import check_order, rivals
from narrows.attacks.losses import lead, margin
from narrows.attacks.norms import NORMS
from narrows.attacks.pgd import climb, step_length
from narrows.attacks.query import Query
from narrows.types import Norm

__all__ = ["MultiTargeted"]


@dataclass(frozen=True, kw_only=True)
class MultiTargeted(FixedEps):
    """PGD on the margin towards every other class in turn.

        x_adv <- clip(x_adv + step_size * sign(grad_x (f_t(x_adv) - f_y(x_adv)))),   each t != y

    Where a target is given, it is the only t. The margin to one class has fewer local maxima than a
    loss of all classes; if the model is linear, it has none but the global one.

    Source: Gowal et al. (2019), arXiv 1910.09338, Algorithm 1.

    Deviations: all steps have one length, along the sign, and with other norms along the direction
    that `PGD` takes. Classes come in the given `order`. As in `PGD` the first restart begins at the
    image itself, images leave at the step that fools the model in any way, and runs go side
    by side where they fit a chunk.

    Args:
        eps: radius, in units of the [0, 1] image range; with L0 a number of pixels.
        steps: gradient steps of one run.
        restarts: runs towards each class, the first from the image itself.
        step_size: length of a step; `None` for 2.5 * eps / steps, enough to cross the ball. With L0
            it is the mean change of a value before the clip, 10 by default.
        order: `"likelihood"`, or `"distance"` for MALT's order, by the distance to the linearised
            boundary of each class at the image.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(3, 3, bias=False)
        >>> _ = model.weight.data.copy_(torch.eye(3))
        >>> x, y = torch.tensor([[0.6, 0.5, 0.5]]), torch.tensor([0])
        >>> MultiTargeted(eps=0.06)(model, x, y).robust_accuracy
        0.0
    """

    source: ClassVar[str] = "Gowal et al. 2019, arXiv 1910.09338"
    randomness: ClassVar[str] = "random starts"
    supported_norms: ClassVar[tuple[Norm, ...]] = NORMS

    eps: float = 8 / 255
    steps: int = 200
    restarts: int = 10
    step_size: float | None = None
    order: str = "likelihood"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order(self.order)

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(eps=0.1, steps=2, restarts=4)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Climb towards each class, from the images and then from random starts.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: of the random starts.
        """
        best = query.best(x)
        step_size = self.step_size or step_length(self.norm, self.eps, self.steps)
        everyone = torch.arange(len(x), device=x.device)
        classes = None if query.targeted else self._classes(query, x, everyone)
        ways = 1 if classes is None else classes.shape[1]
        for rows, attempt in best.attempts(self.restarts * ways, self.chunk):
            start = self.starts(query, x[rows], rows, attempt // ways, generator)
            loss, targets = (
                (margin, None) if classes is None else (lead, classes[rows, attempt % ways])
            )
            climb(
                *(self, query, best, x, rows, start, loss, targets),
                steps=self.steps,
                step_size=step_size,
            )
        return best.x

    def _classes(self, query: Query, x: Tensor, rows: Tensor) -> Tensor:
        logits = query.logits(x, rows)
        return rivals(query, x, rows, logits, query.classes - 1, self.order, self.norm)
