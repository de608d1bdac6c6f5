"""Targeted gradient sign (TGS): steps of FGSM towards the class after the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import FixedEps
from narrows.attacks._best import Best
from narrows.attacks.losses import cross_entropy
from narrows.attacks.pgd import climb
from narrows.attacks.query import Query
from narrows.checks import ArrayLike, check_count, check_labels

__all__ = ["TGS"]


@dataclass(frozen=True, kw_only=True)
class TGS(FixedEps):
    """Targeted gradient sign: one step of FGSM, or several, towards the class after the label.

        x_adv = clip(x - step_size * sign(grad_x L(x, t))),        t = (y + 1) mod C

    Source: Zhai & Zhang (2021), arXiv 2103.00381, section 4 and Table 1, take this target; "TGS" is
    the name in the information-bottleneck papers.

    What counts as success: the tables of those papers give the accuracy under TGS, which is the
    share of images that are still classified as their label. So without a target
    `TGS(eps)(model, x, y)` heads for t and counts any wrong class, and `robust_accuracy` is the
    papers' column. With `target=TGS.target(y, C)` only t itself counts, and `1 - robust_accuracy`
    is the share of targets that were reached.

    Deviations: an image that is misclassified already is left alone, and counts as misclassified.
    With several steps an image leaves at the step that counts.

    Args:
        eps: radius, in units of the [0, 1] image range.
        steps: gradient steps.
        step_size: length of a step; `None` for the whole of `eps` in one step, and for
            2.5 * eps / steps, but no more than `eps`, in several.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(3, 3, bias=False)
        >>> _ = model.weight.data.copy_(torch.eye(3))
        >>> x, y = torch.tensor([[0.6, 0.5, 0.5]]), torch.tensor([0])
        >>> TGS(eps=0.06)(model, x, y, TGS.target(y, 3)).success
        tensor([True])
    """

    source: ClassVar[str] = "Zhai & Zhang 2021, arXiv 2103.00381"
    randomness: ClassVar[str] = "none"

    steps: int = 1
    step_size: float | None = None

    @staticmethod
    def target(y: ArrayLike, classes: int) -> Tensor:
        """The class after each label: `[n]`.

        Raises:
            InputError: for labels that are none of so many classes.
        """
        classes = check_count(classes, "classes", 2)
        return (check_labels(y, classes=classes) + 1) % classes

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(eps=0.3)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Step from the images towards their targets.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: not used.
        """
        best = Best(x)
        size = min(self.eps, 2.5 * self.eps / self.steps)
        rows = torch.arange(len(x), device=x.device)
        targets = None if query.targeted else self.target(query.labels, query.classes)
        climb(
            *(self, query, best, x, rows, x),
            cross_entropy if query.targeted else _approach,
            targets,
            steps=self.steps,
            step_size=size if self.step_size is None else self.step_size,
        )
        return best.x


def _approach(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    return -cross_entropy(logits, targets)
