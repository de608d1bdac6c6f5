"""DeepFool: step to the nearest boundary of the model's linearisation until the class changes.

    l     = argmin_k |f_k - f_y| / ||grad f_k - grad f_y||_dual
    delta <- delta + |f_l - f_y| / ||w_l||_2^2 * w_l          (L2, w_l = grad f_l - grad f_y)
    delta <- delta + |f_l - f_y| / ||w_l||_1 * sign(w_l)      (Linf)
    x_adv = clip(x + (1 + overshoot) * delta)

Source: Moosavi-Dezfooli, Fawzi & Frossard (2016), arXiv 1511.04599, Algorithm 2; Linf by the form
for general norms that follows it.

Deviations, both for images in a box: what the clip cuts off is taken out of `delta` too, so that
later steps need not undo it. As in the authors' code the model is looked at in the overshot point,
and a step has a least length (1e-4), without which an image on a boundary would not move. Towards
a target only the target's boundary counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.attacks._base import MinimalNorm
from narrows.attacks._query import Query
from narrows.attacks.norms import dual_size, per_image, steepest
from narrows.errors import ConfigError
from narrows.types import Norm

__all__ = ["DeepFool"]

_LEAST_STEP = 1e-4


@dataclass(frozen=True, kw_only=True)
class DeepFool(MinimalNorm):
    """DeepFool, batched, with an image leaving at the step that fools the model.

    Its images sit just past the boundary, where a stochastic model is undecided: raise `overshoot`
    if fresh draws are to confirm them.

    Args:
        norm: `"l2"` or `"linf"`.
        steps: linearisations of an image before it is given up.
        overshoot: share by which the accumulated perturbation is enlarged to cross the boundary.
        candidates: only so many of the most likely other classes are looked at, one backward pass
            each; `None` for all. The authors' code looks at 9.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> DeepFool(overshoot=0)(model, x, y).distance  # the boundary is .1414 away
        tensor([0.1415])
    """

    norm: Norm = "l2"
    steps: int = 50
    overshoot: float = 0.02
    candidates: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("steps", *(["candidates"] if self.candidates is not None else []))
        if not 0 <= self.overshoot < math.inf:
            raise ConfigError(f"overshoot must be finite and not negative, got {self.overshoot}")

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Step until fooled; an image that never is comes back at its last step."""
        x_adv = x.clone()
        rows = torch.arange(len(x), device=x.device)
        delta = torch.zeros_like(x)
        for _ in range(self.steps):
            verdict = query.verdict(x_adv[rows], rows)
            left = (~verdict.fooled).nonzero().squeeze(1)
            if not len(left):
                break
            rows, delta, logits = rows[left], delta[left], verdict.logits[left]
            origin = x[rows]
            delta = delta + self._step(query, x_adv[rows], rows, logits)
            delta = (origin + delta).clamp_(0, 1) - origin
            x_adv[rows] = (origin + (1 + self.overshoot) * delta).clamp_(0, 1)
        return x_adv

    def _step(self, query: Query, x: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
        """Shortest step to a boundary of the linearisation at `x: [b, ...]`; zero without any."""
        nearest = x.new_full((len(x),), math.inf)
        normal = torch.zeros_like(x)
        for lead, gradient in query.gaps(x, *self._rivals(query, rows, logits)):
            distance = lead.abs() / dual_size(gradient, self.norm)
            closer = distance < nearest
            nearest = torch.where(closer, distance, nearest)
            normal = torch.where(per_image(closer, x), gradient, normal)
        return per_image(nearest.clamp_min(_LEAST_STEP), x).nan_to_num(posinf=0) * steepest(
            normal, self.norm
        )

    def _rivals(self, query: Query, rows: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The class that each image is to leave, `[b]`, and those it may go to, `[b, k]`."""
        labels = query.labels[rows]
        if query.targeted:
            return logits.argmax(1), labels.unsqueeze(1)
        most = logits.shape[1] - 1
        others = logits.scatter(1, labels.unsqueeze(1), -math.inf)
        return labels, others.topk(min(self.candidates or most, most)).indices
