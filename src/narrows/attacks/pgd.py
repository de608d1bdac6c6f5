"""Projected gradient descent (PGD), and the loop of steps that other attacks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from narrows.attacks._base import FixedEps
from narrows.attacks._best import Best
from narrows.attacks.losses import AttackLoss, TargetedLoss, aimed, resolve_loss
from narrows.attacks.norms import NORMS, ascent
from narrows.attacks.query import Query
from narrows.types import Norm

__all__ = ["PGD", "Look", "climb"]

_SPARSE_STEP = 10.0  # mean change of a value by a step in L0, before all but a few are undone


@dataclass(frozen=True, kw_only=True)
class PGD(FixedEps):
    """Projected gradient descent: many small steepest steps inside the ball, with restarts.

        x_adv <- clip(x_adv + step_size * sign(grad_x L(x_adv, y)))

    With `norm="l2"` the sign becomes the normalised gradient, with `"l1"` the sign of its largest
    1 % of entries, and with `"l0"` the gradient itself, so that the clip keeps the `eps` pixels
    that matter most. Where a target is given, the loss of the target is descended.

    Source: Madry et al. (2018), arXiv 1706.06083, section 2.1. The L1 step is that of Tramer &
    Boneh (2019), arXiv 1904.13000; the L0 attack is PGD-0 of Croce & Hein (2019), arXiv 1909.05040.

    Deviations: the first restart begins at the image itself, and only the later ones at a random
    point of the ball; this was measured to be no weaker, and makes a single restart deterministic.
    An image leaves the search at the step that fools the model. The image returned is the best of
    all steps and restarts, not the last.

    Against a stochastic model every restart runs to its end, because one lucky draw is no success.
    An image is spared further restarts only if fresh draws confirm that it fools the model.

    Args:
        eps: radius, in units of the [0, 1] image range; with L0 a number of pixels.
        steps: gradient steps of one restart.
        restarts: attempts at each image, the first from the image itself.
        step_size: length of a step; `None` for 2.5 * eps / steps, enough to cross the ball. With L0
            it is the mean change of a value before the clip, 10 by default.
        loss: `"cross_entropy"`, `"margin"`, `"probability_margin"` or `"dlr"`.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.5]]), torch.tensor([0])
        >>> PGD(eps=0.1)(model, x, y).robust_accuracy
        0.0
    """

    source: ClassVar[str] = "Madry et al. 2018, arXiv 1706.06083"
    randomness: ClassVar[str] = "random starts"
    stackable: ClassVar[bool] = True
    supported_norms: ClassVar[tuple[Norm, ...]] = NORMS

    eps: float = 8 / 255
    steps: int = 40
    restarts: int = 20
    step_size: float | None = None
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        resolve_loss(self.loss)

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(eps=0.1, steps=5, restarts=3)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Climb from the images themselves, then from random starts those not fooled yet.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: of the random starts.
        """
        best = query.best(x)
        loss = resolve_loss(self.loss, query.classes, targeted=query.targeted)
        step_size = self.step_size or step_length(self.norm, self.eps, self.steps)
        for rows, attempt in best.attempts(self.restarts, self.chunk):
            start = self.starts(query, x[rows], rows, attempt, generator)
            climb(self, query, best, x, rows, start, loss, steps=self.steps, step_size=step_size)
        return best.x


def step_length(norm: Norm, eps: float, steps: int) -> float:
    """The length of a step of `PGD` by default."""
    return _SPARSE_STEP if norm == "l0" else 2.5 * eps / steps


class Look(NamedTuple):
    """The model at one step of a climb.

    Attributes:
        x: `[b, ...]`, the point at which it was evaluated.
        value: `[b]`, the objective there.
        gradient: `[b, ...]`, along which the next step goes.
        logits: `[b, C]` at `x`.
        leaves: whether images that are fooled leave the climb.
    """

    x: Tensor
    value: Tensor
    gradient: Tensor
    logits: Tensor
    leaves: bool = True


def climb(
    attack: FixedEps,
    query: Query,
    best: Best,
    x: Tensor,
    rows: Tensor,
    x_adv: Tensor,
    loss: AttackLoss | TargetedLoss,
    targets: Tensor | None = None,
    *,
    steps: int,
    step_size: float,
    look: Callable[[Tensor, Tensor], Look] | None = None,
) -> None:
    """Take gradient steps inside the ball of an attack, and offer their points to `best`.

    Args:
        attack: whose ball and norm are used.
        query: the model, and the labels of the images.
        best: is offered every point if the model is deterministic, and the last one in any case.
        x: `[n, ...]`, the images.
        rows: `[b]`, which of them are attacked.
        x_adv: `[b, ...]`, where to begin.
        loss: the objective to raise.
        targets: `[b]`, classes that the loss is aimed at.
        steps: number of gradients.
        step_size: length of each step.
        look: `(x_adv, rows) -> Look`, which replaces the gradient of the loss at `x_adv`.
    """
    for _ in range(steps):
        if look is None:
            seen = Look(x_adv, *query.ascend(x_adv, rows, aimed(loss, targets)))
        else:
            seen = look(x_adv, rows)
        gradient = seen.gradient
        if not query.stochastic:
            fooled = query.fooled(seen.logits, rows)
            best.offer(rows, seen.x, seen.value, fooled)
            if seen.leaves and fooled.any():
                left = (~best.fooled[rows]).nonzero().squeeze(1)
                rows, x_adv, gradient = rows[left], x_adv[left], gradient[left]
                targets = None if targets is None else targets[left]
                if not len(rows):
                    return
        x_adv = attack.clip(x_adv + step_size * ascent(gradient, x_adv, attack.norm), x[rows])
    verdict = query.verdict(x_adv, rows)
    value = query.objective(verdict.logits, rows, aimed(loss, targets))
    best.offer(rows, x_adv, value, verdict.fooled)
