"""Boundary attack: a random walk along the boundary towards the image, by labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import Limits, MinimalNorm
from narrows.attacks._decisions import Decisions
from narrows.attacks.norms import per_image, size
from narrows.attacks.query import Query
from narrows.types import Norm

__all__ = ["BoundaryAttack"]

_PRECISION = 1e-3  # of the first bisection, as a share of the distance
_ASIDE_EVERY = 10  # steps, after which the step on the sphere is asked about too
_LEAST, _GREATEST = 1e-6, 0.5  # of both steps, as shares of the distance
_INWARD_WINS, _ASIDE_WINS = 0.25, 0.4  # shares of successes at which the steps keep their lengths
_INWARD_RATE, _ASIDE_RATE = 0.05, 0.1  # by which one answer changes the logarithm of a step


@dataclass(frozen=True, kw_only=True)
class BoundaryAttack(MinimalNorm):
    """A random walk along the boundary towards the image; of the model only its labels are read.

        aside  = x + |x_k - x| * unit(x_k - x + spherical_step * |x_k - x| * u),   u _|_ x_k - x
        inward = aside + source_step * (x - aside)
        x_(k+1) = inward where that fools, else x_k

    u is a random direction of length 1. Both step lengths follow the share of successes.

    Source: Brendel, Rauber & Bethge (2018), arXiv 1712.04248, section 2.

    Deviations: the search begins at the nearest image of the chunk, or of 64 noise images, that is
    predicted as another class (towards a target, as the target), and that is bisected first; an
    image for which none fools comes back unchanged. As in foolbox a step asks once, about `inward`;
    every tenth step asks about `aside` too. Each answer changes the step lengths a little, so that
    `inward` succeeds in .25 and `aside` in .4 of the steps, where the authors' code changes them by
    a tenth after counts of 30 and 100 answers.

    With `eps` the attack is a test at that radius: an image leaves as soon as it is fooled within
    `eps`, only that is `success`, and no returned image is farther. Against a stochastic model an
    answer is the vote of `draws` draws, nothing leaves early, and the perturbation is then enlarged
    until fresh draws confirm it.

    Args:
        norm: `"l2"`.
        eps: radius at which to stop; `None` for the smallest perturbation.
        queries: forward passes for each image.
        spherical_step: first length of a step along the sphere, as a share of the distance.
        source_step: first length of a step towards the image, as a share of the distance.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> result = BoundaryAttack(queries=1000)(model, x, y)
        >>> bool((result.distance > 0.1414) & (result.distance < 0.1420))  # it is .1414 away
        True
    """

    source: ClassVar[str] = "Brendel et al. 2018, arXiv 1712.04248"
    randomness: ClassVar[str] = "random search"
    supported_norms: ClassVar[tuple[Norm, ...]] = ("l2",)
    uses_gradients: ClassVar[bool] = False

    norm: Norm = "l2"
    eps: float | None = None
    queries: int = 5000
    spherical_step: float = 0.1
    source_step: float = 0.1

    limits: ClassVar[Limits] = {
        "spherical_step": {"above": 0, "high": _GREATEST},
        "source_step": {"above": 0, "high": _GREATEST},
    }

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(queries=200)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Walk until the queries are used up; an image without a starting point is not changed.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: of the noise images and of the steps.
        """
        judge = Decisions(query, x, self.norm, self.queries, self.chunk, generator)
        rows = judge.started()
        x_adv = judge.bisect(judge.start[rows], rows, _PRECISION)
        origin, away = x[rows], x_adv - x[rows]
        distance = size(away, "l2")
        spherical = x.new_full((len(rows),), self.spherical_step)
        source = x.new_full((len(rows),), self.source_step)
        step = 0
        while len(going := judge.unfinished(rows, self.eps, 2)):
            if len(going) < len(rows):
                parts = (rows, origin, away, distance, spherical, source)
                rows, origin, away, distance, spherical, source = (part[going] for part in parts)
            aside = self._aside(away, distance, spherical, generator)
            inward = torch.addcmul(origin, aside, per_image(1 - source, aside)).clamp_(0, 1)
            fooled = judge.fooled(inward, rows)
            nearer = size(inward - origin, "l2")
            better = fooled & (nearer < distance)
            judge.nearest.offer(rows[better], inward[better], fooled[better])
            away = torch.where(per_image(better, away), inward - origin, away)
            distance = torch.where(better, nearer, distance)
            source = _adapted(source, better, _INWARD_WINS, _INWARD_RATE)
            if step % _ASIDE_EVERY == 0:
                fooled = judge.fooled((origin + aside).clamp_(0, 1), rows)
                spherical = _adapted(spherical, fooled, _ASIDE_WINS, _ASIDE_RATE)
            step += 1
        return judge.finish(self.eps)

    @staticmethod
    def _aside(
        away: Tensor, distance: Tensor, spherical: Tensor, generator: torch.Generator
    ) -> Tensor:
        """A random step on the sphere around the images: perturbations `[b, ...]` of equal size."""
        like = {"dtype": away.dtype, "device": away.device, "generator": generator}
        u = torch.randn(away.shape, **like)
        along = (u * away).flatten(1).sum(1) / distance.square().clamp_min(1e-30)
        u = torch.addcmul(u, away, per_image(-along, away))
        length = spherical * distance / size(u, "l2").clamp_min(1e-30)
        moved = torch.addcmul(away, u, per_image(length, u))
        return moved * per_image((1 + spherical.square()).rsqrt(), moved)


def _adapted(step: Tensor, success: Tensor, wins: float, rate: float) -> Tensor:
    """Longer steps after a success and shorter ones otherwise; steady if `wins` of them succeed."""
    change = torch.exp(rate * (success.to(step.dtype) - wins))
    return (step * change).clamp(_LEAST, _GREATEST)
