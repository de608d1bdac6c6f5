"""DeepFool: step to the nearest linearised boundary until the class changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import Limits, MinimalNorm
from narrows.attacks._boundary import BoundarySearch
from narrows.attacks.norms import farthest, per_image, steepest
from narrows.attacks.query import Query
from narrows.types import Norm

__all__ = ["DeepFool"]

_LEAST_STEP = 1e-4
# Gradients of trained CNNs grew up to 4.7 times in the first step and 1.4 times in later ones.
_GROWTH = 5


@dataclass(frozen=True, kw_only=True)
class DeepFool(MinimalNorm):
    """Step to the nearest boundary of the model's linearisation until the class changes.

        l     = argmin_k |f_k - f_y| / |grad f_k - grad f_y|_dual
        delta <- delta + |f_l - f_y| / |w_l|_2^2 * w_l            (L2, w_l = grad f_l - grad f_y)
        delta <- delta + |f_l - f_y| / |w_l|_1 * sign(w_l)        (Linf)
        x_adv = clip(x + (1 + overshoot) * delta)

    Source: Moosavi-Dezfooli, Fawzi & Frossard (2016), arXiv 1511.04599, Algorithm 2; the Linf form
    is that for general norms, which follows it.

    Deviations: as in the authors' code the model is linearised at the overshot point, and a step
    has a least length of 1e-4, without which an image on a boundary would not move. What the clip
    cuts off is removed from `delta` too, so that later steps need not undo it. A class is skipped
    in a step if its boundary would not be the nearest even with a gradient five times as long as
    when it was last computed; this changed no image where it was measured, at a third of the cost.
    Towards a target only the boundary of the target counts.

    An image leaves at the step that fools the model, just past the boundary. There a stochastic
    model is undecided: raise `overshoot` for images that fresh draws confirm.

    Args:
        norm: `"l2"` or `"linf"`.
        steps: linearisations of an image before the attack gives up.
        overshoot: share by which the accumulated perturbation is enlarged to cross the boundary.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> DeepFool()(model, x, y).distance  # the boundary is .1414 away
        tensor([0.1442])
    """

    source: ClassVar[str] = "Moosavi-Dezfooli et al. 2016, arXiv 1511.04599"
    randomness: ClassVar[str] = "none"
    stackable: ClassVar[bool] = True

    norm: Norm = "l2"
    steps: int = 50
    overshoot: float = 0.02

    limits: ClassVar[Limits] = {"overshoot": {"low": 0}}

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(steps=10)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Step until fooled; an image that never is comes back at its last step.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: not used.
        """
        x_adv, delta = x.clone(), torch.zeros_like(x)
        rows = torch.arange(len(x), device=x.device)
        search = BoundarySearch(query, self.norm, _GROWTH)
        for _ in range(self.steps):
            verdict = query.verdict(x_adv[rows], rows)
            left = (~verdict.fooled).nonzero().squeeze(1)
            if not len(left):
                break
            rows, delta = rows[left], delta[left]
            search.keep(left)
            boundary = search.nearest(x_adv[rows], rows, verdict.logits[left])
            length = boundary.distance.clamp_min(self._least_step(query, x)).nan_to_num(posinf=0)
            delta = delta + per_image(length, delta) * steepest(boundary.normal, self.norm)
            origin = x[rows]
            delta = (origin + delta).clamp_(0, 1) - origin
            x_adv[rows] = (origin + (1 + self.overshoot) * delta).clamp_(0, 1)
        return x_adv

    def _least_step(self, query: Query, x: Tensor) -> float:
        """The least length of a step, which half precision must be able to tell from 0."""
        return max(_LEAST_STEP, farthest(x, self.norm) * query.grain)
