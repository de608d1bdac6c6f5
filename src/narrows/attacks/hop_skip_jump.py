"""HopSkipJump: walk along the boundary towards the image, by labels alone."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import MinimalNorm
from narrows.attacks._decisions import Decisions
from narrows.attacks.norms import per_image, size, steepest
from narrows.attacks.query import Query

__all__ = ["HopSkipJump"]

_RADIUS = 0.01  # L2 size of the first probes, as a share of the distance to the image
_WIDEST = 0.5  # of later ones, where shorter ones change nothing
_AGREED, _SPLIT = (
    0.5,
    0.2,
)  # surplus of one answer above which probes double, below which they halve
_MEMORY = 0.6  # weight of the last estimate of the normal in the next one
_HALVINGS = 15  # of a step that leaves the wrong class
_RESERVE = 30  # queries that are kept for the step and its bisection
_FEWEST = 10  # probes of an estimate; an image that cannot afford them is done


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(MinimalNorm):
    """Walk along the boundary towards the image; of the model only its labels are read.

        v    = sum_b (phi(x_t + r u_b) - mean phi) u_b,   phi = 1 where that fools, else -1
        x_t' = x_t + d_t / sqrt(t) * steepest(v)          halved until it fools; d_t = |x_t - x|
        x_(t+1) = the boundary between x and x_t', by bisection

    The estimate v of the boundary's normal takes B_t = probes * sqrt(t) random directions u_b of
    length 1: normal ones for L2, uniform ones for Linf. Because it reads labels only, no gradient,
    confidence or margin of the model can mislead it.

    Source: Chen, Jordan & Wainwright (2020), arXiv 1904.02144, Algorithms 1 and 2.

    Deviations: the search begins at the nearest image of the chunk, or of 64 noise images, that is
    predicted as another class (towards a target, as the target), where the paper takes one noise
    image; an image for which none fools comes back unchanged. The probes are 1 % of the distance
    long, and twice as long for the next estimate where three in four have the same answer, as on a
    model that rounds its input; in the paper they are 1/inputs of it. .6 of the last estimate of
    the normal is added to the new one: on an MNIST network this ended 8 % nearer with Linf, and
    equally near with L2, at the same number of queries. The nearest success is returned, not the
    last.

    With `eps` the attack is a test at that radius: an image leaves as soon as it is fooled within
    `eps`, only that is `success`, and no returned image is farther. Against a stochastic model an
    answer is the vote of `draws` draws, nothing leaves early, and the perturbation is then enlarged
    until fresh draws confirm it.

    Args:
        norm: `"linf"` or `"l2"`.
        eps: radius at which to stop; `None` for the smallest perturbation.
        queries: forward passes for each image.
        probes: random directions of the first estimate of the normal.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> HopSkipJump(queries=1000)(model, x, y).distance  # the boundary is .1 away
        tensor([0.1000])
    """

    source: ClassVar[str] = "Chen et al. 2020, arXiv 1904.02144"
    randomness: ClassVar[str] = "random search"
    uses_gradients: ClassVar[bool] = False

    eps: float | None = None
    queries: int = 5000
    probes: int = 100

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(queries=200, probes=20)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Walk until the queries are used up; an image without a starting point is not changed.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: of the noise images and of the probes.
        """
        judge = Decisions(query, x, self.norm, self.queries, self.chunk, generator)
        # A probe moves along the normal by about its size / sqrt(inputs); with Linf one unit of
        # distance moves along it by about sqrt(inputs).
        inputs = x[0].numel()
        precision = _RADIUS / (inputs if self.norm == "linf" else math.sqrt(inputs))
        rows = judge.started()
        x_adv = judge.bisect(judge.start[rows], rows, precision)
        normal, radius = torch.zeros_like(x), x.new_full((len(x),), _RADIUS)
        for step in itertools.count(1):
            going = judge.unfinished(rows, self.eps, _RESERVE + _FEWEST)
            rows, x_adv = rows[going], x_adv[going]
            if not len(rows):
                return judge.finish(self.eps)
            afforded = int(judge.left(rows).min()) - _RESERVE
            count = min(int(self.probes * math.sqrt(step)), afforded)
            estimate, surplus = self._normal(judge, x_adv, rows, radius[rows], count, generator)
            radius[rows] = _adapted(radius[rows], surplus)
            # The more probes, the better the estimate.
            normal[rows] = _MEMORY * normal[rows] + count * estimate
            x_adv = self._step(judge, x_adv, rows, normal[rows], step)
            x_adv = judge.bisect(x_adv, rows, precision)
        raise AssertionError("unreachable")

    def _normal(
        self,
        judge: Decisions,
        x_adv: Tensor,
        rows: Tensor,
        radius: Tensor,
        count: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Estimates of the normal at `x_adv: [b, ...]` from `count` probes, and their mean answer.

        The probes of each image are `radius: [b]` of its distance long.
        """
        radius = radius * size(x_adv - judge.nearest.origin[rows], "l2")
        signed, moves = torch.zeros_like(x_adv), torch.zeros_like(x_adv)
        votes, done = torch.zeros_like(radius), 0
        while done < count:
            several = min(count - done, max(1, self.chunk // len(rows)))
            u = self._directions(several, x_adv, generator)
            length = size(u.flatten(0, 1), "l2").view(several, -1)
            scale = (radius / length).view(*length.shape, *(1,) * (x_adv.dim() - 1))
            moved = torch.addcmul(x_adv, u, scale).clamp_(0, 1)
            fooled = judge.fooled(moved.flatten(0, 1), rows.repeat(several)).view(several, -1)
            phi = 2 * fooled.to(x_adv.dtype) - 1
            moved.sub_(x_adv)
            signed += torch.einsum("kb,kb...->b...", phi, moved)
            moves += moved.sum(0)
            votes += phi.sum(0)
            done += several
        mean = votes / count
        # Where all answers agree their sum is the best guess.
        baseline = mean.masked_fill(mean.abs() == 1, 0)
        return steepest(signed - per_image(baseline, moves) * moves, "l2"), mean.abs()

    def _directions(self, several: int, x_adv: Tensor, generator: torch.Generator) -> Tensor:
        like = {"dtype": x_adv.dtype, "device": x_adv.device, "generator": generator}
        if self.norm == "l2":
            return torch.randn(several, *x_adv.shape, **like)
        return torch.rand(several, *x_adv.shape, **like).mul_(2).sub_(1)

    def _step(
        self, judge: Decisions, x_adv: Tensor, rows: Tensor, normal: Tensor, step: int
    ) -> Tensor:
        """Go along the normals by a step that still fools; stay where even a tiny one does not."""
        result = x_adv.clone()
        length = size(x_adv - judge.nearest.origin[rows], self.norm) / math.sqrt(step)
        direction, at = steepest(normal, self.norm), torch.arange(len(rows), device=rows.device)
        for _ in range(_HALVINGS):
            attempt = x_adv[at] + per_image(length[at], x_adv) * direction[at]
            attempt = attempt.clamp_(0, 1)
            fooled = judge.fooled(attempt, rows[at])
            result[at[fooled]] = attempt[fooled]
            at = at[~fooled]
            if not len(at):
                break
            length[at] /= 2
        return result


def _adapted(radius: Tensor, surplus: Tensor) -> Tensor:
    """Longer probes where their answers agree, and shorter ones again where they are divided."""
    longer = torch.where(surplus > _AGREED, 2 * radius, radius)
    return torch.where(surplus < _SPLIT, radius / 2, longer).clamp(_RADIUS, _WIDEST)
