"""Carlini-Wagner L2: minimise the perturbation plus c times what is missing to the boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import Limits, MinimalNorm
from narrows.attacks._nearest import Nearest
from narrows.attacks.losses import AttackLoss, margin
from narrows.attacks.norms import dual_size, per_image
from narrows.attacks.query import Query
from narrows.errors import ConfigError
from narrows.types import Norm

__all__ = ["CarliniWagner"]

_INSIDE = 0.999999
_CHECKS = 20  # times in a search that the fall of the loss is tested
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(MinimalNorm):
    """Minimise the L2 perturbation plus c times what is missing to the boundary.

        min_w |x_adv - x|_2^2 + c max(Z_y - max_{k != y} Z_k + confidence, 0)      untargeted
        min_w |x_adv - x|_2^2 + c max(max_{k != t} Z_k - Z_t + confidence, 0)      towards t
        x_adv = (tanh w + 1) / 2

    Adam descends w, so that [0, 1] needs no clip. c is searched for each image: it is ten times as
    large until the attack succeeds, and then halfway between the largest that failed and the
    smallest that succeeded.

    Source: Carlini & Wagner (2017), arXiv 1608.04644, section VI.A.

    Deviations: the start is atanh(.999999 (2x - 1)), as in the authors' code, since a pixel of
    exactly 0 or 1 would never move. By default the first c of an image is 2 gap / |grad gap|^2, at
    which the perturbation is optimal if the model is linear, so that no search is spent on finding
    the order of magnitude. Later searches start from the nearest success so far, or where the last
    one ended. Each image aborts separately. All searches but the last take steps five times as long
    and abort early, because a pixel of 0 has to change w by six before it shows: in this way 5
    searches of 200 steps ended nearer on MNIST in a third of the passes. The nearest success is
    moved along its line to the image by a secant.

    Images end just past the boundary, or with a lead of `confidence` in the logits. Against a
    stochastic model every step is judged by the attack's own draws (raise `draws`), and the last
    success is moved outwards until fresh draws confirm it.

    Args:
        steps: of Adam, in each search.
        searches: values of c that are tried; 1 is the form with c fixed.
        confidence: lead in the logits that counts as success.
        initial_c: the first c; `None` for one from the linearisation of the model at each image.
        learning_rate: of Adam, in units of w.
        approach_rate: the same in all searches but the last.
        least_fall: the search of an image ends where a twentieth of the steps lowered its loss by
            less than this share; 0 for never.
        approach_fall: the same in all searches but the last.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> CarliniWagner(steps=200, searches=3)(model, x, y).distance  # the boundary is .1414 away
        tensor([0.1414])
    """

    source: ClassVar[str] = "Carlini & Wagner 2017, arXiv 1608.04644"
    randomness: ClassVar[str] = "none"
    supported_norms: ClassVar[tuple[Norm, ...]] = ("l2",)

    norm: Norm = "l2"
    steps: int = 1000
    searches: int = 9
    confidence: float = 0.0
    initial_c: float | None = None
    learning_rate: float = 0.01
    approach_rate: float = 0.05
    least_fall: float = 1e-3
    approach_fall: float = 0.01

    limits: ClassVar[Limits] = {
        "confidence": {"low": 0},
        "initial_c": {"above": 0},
        "learning_rate": {"above": 0},
        "approach_rate": {"above": 0},
        "least_fall": {"low": 0},
        "approach_fall": {"low": 0},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("least_fall", "approach_fall"):
            if getattr(self, name) >= 1:
                raise ConfigError(f"{name} must be less than 1, got {getattr(self, name)}")

    @classmethod
    def published(cls, **options: Any) -> Self:
        """Settings of the authors' code, which VIB's authors used unchanged (footnote 7).

        They are 9 searches of 10,000 steps from c = .001, which take hours on real networks.

        Source: Alemi et al. (2017), arXiv 1612.00410, section 4.2.3; with `draws=12` the attack
        averages as many draws as theirs.
        """
        settings = {"steps": 10_000, "searches": 9, "initial_c": 1e-3, "approach_rate": 0.01}
        return cls(**{**settings, "least_fall": 1e-4, "approach_fall": 1e-4, **options})

    @classmethod
    def fixed_c(cls, c: float = 1.0, steps: int = 200, **options: Any) -> Self:
        """One c and no search; c = 1 is the default of torchattacks.

        This is not a test of robustness: a c that is too small never reaches the boundary, and one
        that is too large goes far past it.

        Args:
            c: weight of what is missing to the boundary.
            steps: of Adam.
            options: further arguments of the constructor.
        """
        settings = {"steps": steps, "searches": 1, "initial_c": c, "approach_rate": 0.01}
        return cls(**{**settings, "least_fall": 0.0, **options})

    @classmethod
    def ib_rar(cls, **options: Any) -> Self:
        """The attack of IB-RAR's tables: torchattacks' with c = 0.1, a rate of 0.1 and 200 steps.

        Its numbers are no bounds of robustness: at c = 0.1 the perturbation is worth more than the
        label of many images, which then count as robust.

        Source: the published code of Xu, Perin & Picek (2022), arXiv 2302.10896.

        Deviations: torchattacks never moves a pixel of exactly 0 or 1, and returns the success as
        it was met, not moved back to the boundary. `from_torchattacks` runs the library itself.

        Args:
            options: further arguments of the constructor.
        """
        return cls.fixed_c(0.1, 200, **{"learning_rate": 0.1, **options})

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(steps=30, searches=2)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Search c from one descent to the next; an image never fooled comes back unchanged.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: not used.
        """
        nearest = Nearest(x, "l2", latest=query.stochastic)
        rows = torch.arange(len(x), device=x.device)
        c = self._first_c(query, x, rows)
        low, high = torch.zeros_like(c), torch.full_like(c, math.inf)
        w = _to_tanh(x)
        for search in range(self.searches):
            last = search == self.searches - 1
            w, succeeded = self._descend(query, nearest, w, c, fine=last)
            high = high.minimum(c.where(succeeded, math.inf))
            low = low.maximum(c.where(~succeeded, 0))
            c = torch.where(torch.isinf(high), 10 * c, (low + high) / 2)
            if search < self.searches - 1:
                successful = per_image(torch.isfinite(nearest.distance), x)
                w = torch.where(successful, _to_tanh(nearest.x), w)
        # Moving a success back to the boundary would lose its confidence.
        if self.confidence and not query.stochastic:
            return nearest.x
        return nearest.finish(query)

    def _first_c(self, query: Query, x: Tensor, rows: Tensor) -> Tensor:
        if self.initial_c is not None:
            return x.new_full((len(x),), self.initial_c)
        value, gradient, _ = query.ascend(x, rows, margin)
        steep = dual_size(gradient, "l2").square()
        guess = 2 * (self.confidence - value) / steep
        return guess.where(steep > 0, 1.0).clamp(1e-6, 1e10)

    def _descend(
        self, query: Query, nearest: Nearest, w: Tensor, c: Tensor, fine: bool
    ) -> tuple[Tensor, Tensor]:
        """One search: w at its end, `[n, ...]`, and whether it succeeded, `[n]` bool."""
        rows = torch.arange(len(w), device=w.device)
        end, succeeded = w.clone(), torch.zeros_like(rows, dtype=torch.bool)
        first, second = torch.zeros_like(w), torch.zeros_like(w)
        origin, before = nearest.origin, c.new_full((len(c),), math.inf)
        lacking = self._lacking(query.targeted)
        rate = self.learning_rate if fine else self.approach_rate
        least_fall = self.least_fall if fine else self.approach_fall
        for step in range(1, self.steps + 1):
            tanh = w.tanh()
            x_adv = (tanh + 1) / 2
            value, gradient, logits = query.ascend(x_adv, rows, lacking)
            delta = x_adv - origin
            hit = query.fooled(logits, rows) & (value >= self.confidence)
            nearest.offer(rows, x_adv, hit)
            succeeded[rows[hit]] = True
            gradient = (2 * delta - per_image(c, w) * gradient) * (1 - tanh.square()) / 2
            first.mul_(_BETA1).add_(gradient, alpha=1 - _BETA1)
            second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
            scale = (second / (1 - _BETA2**step)).sqrt_().add_(_EPSILON)
            w = w.addcdiv(first, scale, value=-rate / (1 - _BETA1**step))
            if least_fall and step % max(1, self.steps // _CHECKS) == 0:
                loss = delta.flatten(1).square().sum(1) + c * (self.confidence - value)
                falls = loss < (1 - least_fall) * before
                end[rows[~falls]] = w[~falls]
                rows, origin, w, c, first, second, before = (
                    part[falls] for part in (rows, origin, w, c, first, second, loss)
                )
                if not len(rows):
                    return end, succeeded
        end[rows] = w
        return end, succeeded

    def _lacking(self, targeted: bool) -> AttackLoss:
        """The margin, no more than `confidence` in the direction that the attack goes."""

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            lead = margin(logits, labels)
            if targeted:
                return lead.clamp_min(-self.confidence)
            return lead.clamp_max(self.confidence)

        return loss


def _to_tanh(x: Tensor) -> Tensor:
    """The w of an image, with pixels of exactly 0 and 1 just inside the box."""
    return torch.atanh(_INSIDE * (2 * x - 1))
