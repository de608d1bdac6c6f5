"""Decoupled direction and norm (DDN): gradient steps on a sphere that shrinks on every success."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import Limits, MinimalNorm
from narrows.attacks._nearest import Nearest
from narrows.attacks.losses import AttackLoss, log_odds, margin, resolve_loss
from narrows.attacks.norms import per_image, size, steepest
from narrows.attacks.query import Query
from narrows.errors import ConfigError
from narrows.types import Norm

__all__ = ["DDN"]

_LAST_STEP = 0.01  # to which the step size falls from 1 along a cosine


@dataclass(frozen=True, kw_only=True)
class DDN(MinimalNorm):
    """Decoupled direction and norm: gradient steps on a sphere that shrinks on every success.

        delta <- delta + step_size * g / |g|_2,    g = grad_x L(x_adv, y)
        radius <- (1 - gamma) radius  where x_adv fools the model, else  (1 + gamma) radius
        x_adv <- clip(x + radius * delta / |delta|_2)

    It is the cheap check of any L2 attack: one backward pass for each step, and nothing to tune.
    Where a target is given, the loss of the target is descended.

    Source: Rony, Hafemann, Oliveira, Ben Ayed, Sabourin & Granger (2019), arXiv 1811.09600,
    Algorithm 1.

    Deviations: in the first half of the steps the loss is the log odds, whose gradient has the
    direction of the cross-entropy's and does not vanish where logits are saturated; in the second
    half it is the margin. The log odds choose among the classes (the margin alone ended 6 % farther
    away on MNIST), but they head between two classes that are near (15 % past the nearest boundary
    of a linear model of five classes). The radius is at most the distance to the farthest corner of
    [0, 1]. Pixels are not rounded to 256 levels. The nearest success is moved along its line to the
    image by a secant.

    Images end just past the boundary. Against a stochastic model the radius follows the attack's
    own draws (raise `draws`), and the last success is moved outwards until fresh draws confirm it.

    Args:
        steps: gradient steps, each of which changes the radius.
        gamma: share by which the radius changes.
        initial_radius: radius of the first sphere, in units of the [0, 1] image range.
        loss: the loss of all steps, `"cross_entropy"` in the paper; `None` for the log odds and,
            in the second half, the margin.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> DDN()(model, x, y).distance  # the boundary is .1414 away
        tensor([0.1414])
    """

    source: ClassVar[str] = "Rony et al. 2019, arXiv 1811.09600"
    randomness: ClassVar[str] = "none"
    supported_norms: ClassVar[tuple[Norm, ...]] = ("l2",)

    norm: Norm = "l2"
    steps: int = 200
    gamma: float = 0.05
    initial_radius: float = 1.0
    loss: str | None = None

    limits: ClassVar[Limits] = {
        "gamma": {"above": 0},
        "initial_radius": {"above": 0},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma >= 1:
            raise ConfigError(f"gamma must be less than 1, got {self.gamma}")
        self._loss_of(0)

    def _loss_of(self, step: int) -> AttackLoss:
        if self.loss is not None:
            return resolve_loss(self.loss)
        return log_odds if 2 * step < self.steps else margin

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(steps=20)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Approach the boundary; an image that is never fooled comes back unchanged.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: not used.
        """
        nearest = Nearest(x, "l2", latest=query.stochastic)
        rows = torch.arange(len(x), device=x.device)
        x_adv, delta = x, torch.zeros_like(x)
        farthest = size(torch.maximum(x, 1 - x), "l2")
        radius = x.new_full((len(x),), self.initial_radius)
        for step in range(self.steps):
            _, gradient, logits = query.ascend(x_adv, rows, self._loss_of(step))
            fooled = query.fooled(logits, rows)
            nearest.offer(rows, x_adv, fooled)
            cosine = (1 + math.cos(math.pi * step / self.steps)) / 2
            step_size = _LAST_STEP + (1 - _LAST_STEP) * cosine
            delta.add_(steepest(gradient, "l2"), alpha=step_size)
            radius = radius * torch.where(fooled, 1 - self.gamma, 1 + self.gamma)
            radius = radius.minimum(farthest)
            # Without a gradient there is no direction, and the image stays.
            scale = (radius / size(delta, "l2")).nan_to_num_(0, posinf=0)
            x_adv = delta.mul_(per_image(scale, x)).add_(x).clamp_(0, 1)
            delta = x_adv - x
        nearest.offer(rows, x_adv, query.fooled(query.logits(x_adv, rows), rows))
        return nearest.finish(query)
