"""Fast adaptive boundary attack (FAB): project onto the linearised boundary, near the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import Limits, MinimalNorm
from narrows.attacks._boundary import BoundarySearch
from narrows.attacks._nearest import Nearest
from narrows.attacks._targets import check_order, rivals
from narrows.attacks.losses import aimed, lead, margin
from narrows.attacks.norms import dual_size, farthest, per_image, random_start, size
from narrows.attacks.query import Query
from narrows.types import Norm

__all__ = ["FAB", "to_plane"]

_GROWTH = 2  # by which a gradient may have grown since it was last computed
_LEAST = 1e-6  # distance of the plane past the boundary, so that an image on it moves too
_PATIENCE = 10  # steps after which an attempt whose boundary is too far away may end
_APPROACH = 8  # by which part / step of itself a distance may still shrink
_UNKNOWN = 0.1  # radius of a random start without a success yet, as a share of [0, 1]


@dataclass(frozen=True, kw_only=True)
class FAB(MinimalNorm):
    """Project onto the linearised boundary and stay near the image, for the smallest perturbation.

        d(u)  = proj(u; {v: lead + <w, v - x_adv> = 0} in [0, 1])
        alpha = min(|d(x_adv) - x_adv| / (|d(x_adv) - x_adv| + |d(x) - x|), alpha_max)
        x_adv <- clip((1 - alpha) (x_adv + eta (d(x_adv) - x_adv)) + alpha (x + eta (d(x) - x)))
        x_adv <- x + beta (x_adv - x)   where that fooled the model

    `w` is the gradient of the lead of the rival class whose boundary is nearest. The projection is
    exact: with Linf all pixels move alike, with L2 each in proportion to its |w|, and with L1 those
    with the largest |w|, one after another, until [0, 1] stops them. Towards a target only the
    boundary of the target counts.

    Source: Croce & Hein (2020), arXiv 1907.02044, Algorithm 1, eq. 7 to 10; `targets` is from Croce
    & Hein (2020), arXiv 2003.01690.

    Deviations: the projection is found by Newton's method instead of by sorting its breakpoints; it
    ends at the same point after a few sums. A class is skipped in a step if its boundary would not
    be the nearest even with a gradient twice as long as when it was last computed. Random starts
    fill the ball of half the radius instead of its surface. Towards a single class the
    linearisation is that at the end of the last step, even where the perturbation was then made
    smaller: this takes one pass for each step instead of two, and ended half a per cent nearer on
    MNIST. The final search is a secant along the line to the image.

    With `eps` the attack is a test at that radius, as in the standard ensemble: an image leaves as
    soon as it is fooled within `eps`, only that is `success`, and no returned image is farther. An
    attempt also ends at step t >= 10 if its nearest success is farther than (1 + 8 / t) eps;
    `benchmarks/giving_up.py` measures what is spared by this, and whether an image is lost. Against
    a stochastic model nothing leaves early; the perturbation is then enlarged until fresh draws
    confirm it, or to the whole of `eps`.

    Args:
        norm: `"linf"`, `"l2"` or `"l1"`.
        eps: radius at which to stop; `None` for the smallest perturbation.
        steps: projections of one restart.
        restarts: attempts at each image, the first from the image itself.
        targets: `None` to head for the nearest of all boundaries; a number to head for those of
            that many other classes, one after another.
        order: `"likelihood"`, or `"distance"` for MALT's order, by the distance to the linearised
            boundary of each class at the image.
        alpha_max: greatest weight of the step that starts at the image.
        eta: factor by which a step goes past the boundary.
        beta: share of the perturbation that is kept after a success.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> FAB(norm="linf", steps=10, restarts=1)(model, x, y).distance  # exactly .1
        tensor([0.1000])
    """

    source: ClassVar[str] = "Croce & Hein 2020, arXiv 1907.02044"
    randomness: ClassVar[str] = "random starts"
    supported_norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2", "l1")

    eps: float | None = None
    steps: int = 100
    restarts: int = 5
    targets: int | None = None
    order: str = "likelihood"
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    limits: ClassVar[Limits] = {
        "alpha_max": {"low": 0, "high": 1},
        "eta": {"low": 1},
        "beta": {"low": 0, "high": 1},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order(self.order)

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(steps=5, restarts=2)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Search from the images towards the likeliest class, then from other starts and classes.

        As many attempts as fit a chunk run side by side, for the images that are left.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: of the random starts.
        """
        nearest = Nearest(x, self.norm, latest=query.stochastic)
        home = query.logits(x)
        ranks = self._ranks(query, home)
        attempts = [(restart, rank) for restart in range(self.restarts) for rank in ranks]
        rows = torch.arange(len(x), device=x.device)
        goals = home.new_zeros(len(x), 0, dtype=torch.int64)
        if ranks != [0]:
            goals = rivals(query, x, rows, home, len(ranks), self.order, self.norm)
        self._search(query, nearest, rows, x, home, goals, rows.new_full((len(x),), ranks[0]))
        done = 1
        while done < len(attempts) and len(rows := rows[~self._done(query, nearest, rows)]):
            copies = attempts[done : done + max(1, self.chunk // len(rows))]
            start = torch.cat([self._start(nearest, rows, at, generator) for at, _ in copies])
            rank = rows.new_tensor([rank for _, rank in copies]).repeat_interleave(len(rows))
            self._search(query, nearest, rows.repeat(len(copies)), start, home, goals, rank)
            done += len(copies)
        if self.eps is None:
            return nearest.finish(query)
        return nearest.inside(query, torch.arange(len(x), device=x.device), self.eps)

    def _ranks(self, query: Query, home: Tensor) -> list[int]:
        """Which other classes to head for, 1 being the first; 0 stands for the nearest one."""
        if self.targets is None or query.targeted:
            return [0]
        return list(range(1, min(self.targets, home.shape[1] - 1) + 1))

    def _start(
        self, nearest: Nearest, rows: Tensor, restart: int, generator: torch.Generator
    ) -> Tensor:
        origin = nearest.origin[rows]
        if restart == 0:
            return origin
        box = _UNKNOWN * farthest(origin, self.norm)
        radius = nearest.distance[rows].clamp_max(self.eps or math.inf).nan_to_num(posinf=box)
        unit = random_start(origin, self.norm, 0.5, generator)
        return (origin + per_image(radius, origin) * unit).clamp_(0, 1)

    def _done(self, query: Query, nearest: Nearest, rows: Tensor) -> Tensor:
        """Which of `rows` need no further attempt: those fooled within `eps`, if there is one."""
        if self.eps is None:
            return torch.zeros_like(rows, dtype=torch.bool)
        if query.stochastic:
            return query.verdict(nearest.inside(query, rows, self.eps), rows).fooled
        return nearest.distance[rows] <= self.eps

    def _search(
        self,
        query: Query,
        nearest: Nearest,
        rows: Tensor,
        x_adv: Tensor,
        home: Tensor,
        goals: Tensor,
        rank: Tensor,
    ) -> None:
        """One attempt from `x_adv: [b, ...]`, towards the classes of `rank: [b]`."""
        if query.targeted:
            self._head_for(query, nearest, rows, x_adv, None)
        elif rank.any():
            self._head_for(query, nearest, rows, x_adv, goals[rows, rank - 1])
        else:
            self._head_anywhere(query, nearest, rows, x_adv, home)

    def _head_for(
        self, query: Query, nearest: Nearest, rows: Tensor, x_adv: Tensor, goal: Tensor | None
    ) -> None:
        """Towards classes `goal: [b]`, or the caller's targets: one gradient for each step."""
        loss = margin if goal is None else lead
        reached = x_adv.new_full((len(rows),), math.inf)
        for step in range(self.steps):
            value, normal, logits = query.ascend(x_adv, rows, aimed(loss, goal))
            back, _ = self._take(query, nearest, rows, x_adv, logits, reached)
            value = value + _dot(normal, back - x_adv)
            left = self._left(query, nearest, rows, reached, step)
            if not len(left):
                return
            if len(left) < len(rows):
                kept = (rows, back, value, normal, reached)
                rows, back, value, normal, reached = (part[left] for part in kept)
                goal = goal if goal is None else goal[left]
            x_adv = self._step(nearest.origin[rows], back, value, normal)
        self._take(query, nearest, rows, x_adv, query.logits(x_adv, rows), reached)

    def _head_anywhere(
        self, query: Query, nearest: Nearest, rows: Tensor, x_adv: Tensor, home: Tensor
    ) -> None:
        """Towards whichever boundary is nearest in each step."""
        logits = query.logits(x_adv, rows)
        search = BoundarySearch(query, self.norm, _GROWTH)
        reached = x_adv.new_full((len(rows),), math.inf)
        for step in range(self.steps):
            boundary = search.nearest(x_adv, rows, logits)
            x_adv = self._step(nearest.origin[rows], x_adv, boundary.lead, boundary.normal)
            logits = query.logits(x_adv, rows)
            x_adv, kept = self._take(query, nearest, rows, x_adv, logits, reached)
            # An estimate of the logits there, which is only used to rank the boundaries.
            logits = home[rows] + kept.unsqueeze(1) * (logits - home[rows])
            left = self._left(query, nearest, rows, reached, step)
            if not len(left):
                return
            if len(left) < len(rows):
                search.keep(left)
                parts = (rows, x_adv, logits, reached)
                rows, x_adv, logits, reached = (part[left] for part in parts)

    def _take(
        self,
        query: Query,
        nearest: Nearest,
        rows: Tensor,
        x_adv: Tensor,
        logits: Tensor,
        reached: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Offer the successes, and return where the search continues, and the share that is kept.

        After a success the share `beta` of the perturbation is kept. `reached: [b]`, the distance
        of the nearest success of each attempt, is updated in place.
        """
        origin, fooled = nearest.origin[rows], query.fooled(logits, rows)
        nearest.offer(rows, x_adv, fooled)
        distance = size(x_adv - origin, self.norm).where(fooled, math.inf)
        torch.minimum(reached, distance, out=reached)
        kept = 1 - (1 - self.beta) * fooled.to(x_adv.dtype)
        return origin + per_image(kept, x_adv) * (x_adv - origin), kept

    def _left(
        self, query: Query, nearest: Nearest, rows: Tensor, reached: Tensor, step: int
    ) -> Tensor:
        """Places in `rows` of the attempts that continue after `step`."""
        if self.eps is None or query.stochastic:
            return torch.arange(len(rows), device=rows.device)
        going = nearest.distance[rows] > self.eps
        if step + 1 >= _PATIENCE:
            far = (1 + _APPROACH / (step + 1)) * self.eps
            going &= (reached <= far) | torch.isinf(reached)
        return going.nonzero().squeeze(1)

    def _step(self, origin: Tensor, x_adv: Tensor, value: Tensor, normal: Tensor) -> Tensor:
        """The projections of `x_adv` and `origin`, extrapolated and averaged."""
        value = value - _LEAST * dual_size(normal, self.norm)
        behind = value + _dot(normal, origin - x_adv)
        step = to_plane(x_adv, normal, value, self.norm)
        anew = to_plane(origin, normal, behind, self.norm)
        near, far = size(step, self.norm), size(anew, self.norm)
        alpha = (near / (near + far)).nan_to_num(0).clamp_max(self.alpha_max)
        away = x_adv - origin + self.eta * step
        away = away + per_image(alpha, away) * (self.eta * anew - away)
        return (origin + away).clamp_(0, 1)


def to_plane(x: Tensor, normal: Tensor, lead: Tensor, norm: Norm) -> Tensor:
    """Shortest step within [0, 1] from `x` to the plane `{v: lead + <normal, v - x> = 0}`.

    A pixel moves towards the plane by min(t |w|, room) with L2 and by min(t, room) with Linf. The
    gain in lead is concave and piecewise linear in t. So Newton's method from t = 0 never
    overshoots, and is exact once it is on the right piece. With L1 the pixels move one after
    another as far as they can, in the order of |w|. Where [0, 1] does not reach the plane, every
    pixel moves as far as it can.

    Args:
        x: `[n, ...]` in [0, 1].
        normal: `[n, ...]`, gradient w of the linear function.
        lead: `[n]`, value of the linear function at `x`.
        norm: in which the step is shortest.
    """
    tiny = torch.finfo(x.dtype).tiny
    flat, w = x.flatten(1), normal.flatten(1)
    peak = w.abs().amax(1).clamp_min(tiny)
    # A pixel without a gradient stays because `toward` is 0 there.
    toward = -(w * lead.sign().unsqueeze(1)).sign()
    w, needed = w.abs() / peak.unsqueeze(1), lead.abs() / peak
    room = torch.where(toward > 0, 1 - flat, flat)
    if norm == "l1":
        return (toward * _one_by_one(w, room, needed)).view_as(x)
    speed = w if norm == "l2" else torch.ones_like(w[:, :1])
    return (toward * _together(w, speed, room, needed)).view_as(x)


def _together(w: Tensor, speed: Tensor, room: Tensor, needed: Tensor) -> Tensor:
    """How far pixels move at `speed: [n, d]` until they have gained `needed: [n]`: `[n, d]`."""
    greatest = torch.finfo(w.dtype).max
    gain = w * speed
    # The first step, from t = 0, where every pixel with room moves.
    time = (needed / (gain * (room > 0)).sum(1)).nan_to_num(0, greatest).clamp_max(greatest)
    for _ in range(w.shape[1]):
        wanted = time.unsqueeze(1) * speed
        missing = needed - torch.linalg.vecdot(w, wanted.minimum(room))
        short = (missing > 100 * torch.finfo(w.dtype).eps * needed) & (time < greatest)
        if not short.any():
            break
        slope = torch.linalg.vecdot(gain, (wanted < room).to(w.dtype))
        time = torch.where(short, (time + missing / slope).clamp_max(greatest), time)
    return (time.unsqueeze(1) * speed).minimum(room)


def _one_by_one(w: Tensor, room: Tensor, needed: Tensor) -> Tensor:
    """How far pixels move if those of the largest `w: [n, d]` come first: `[n, d]`."""
    weight, order = w.sort(1, descending=True)
    reach = room.gather(1, order)
    gain = weight * reach
    missing = needed.unsqueeze(1) - (gain.cumsum(1) - gain)
    moved = (missing / weight.clamp_min(torch.finfo(w.dtype).tiny)).clamp_min(0).minimum(reach)
    return torch.zeros_like(w).scatter(1, order, moved)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vecdot(a.flatten(1), b.flatten(1))
