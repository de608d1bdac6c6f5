"""Auto-PGD (APGD): gradient ascent with momentum that sets its own step sizes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import FixedEps
from narrows.attacks._best import Best
from narrows.attacks._targets import check_order, rivals
from narrows.attacks.losses import (
    LOSSES,
    AttackLoss,
    TargetedLoss,
    aimed,
    resolve_loss,
    targeted_dlr,
    warn_of_few_classes,
)
from narrows.attacks.norms import per_image, rise_left, sparse, steepest
from narrows.attacks.query import Ascent, Query
from narrows.errors import unknown_name
from narrows.types import Norm

__all__ = ["APGD", "checkpoints"]

_MOMENTUM = 0.75  # share of the new step; the rest repeats the last one
_RISES = 0.75  # share of steps that must raise the loss for the step size to stay
_SPARSE_SHARE = 0.05  # of all values, which the first steps in L1 change
_RESIZED_EVERY = 0.04  # of all steps, after which the steps in L1 are adapted
_FEWER, _SHRINK = 0.95, 1.5
_WIDER, _WIDER_SHARE = (3, 2), 0.3  # radii searched before, as multiples, with so many steps each
_EARLY = 9  # parts of the steps, after the first of which hopeless runs are looked for
_FACTOR = 4  # by which a gain may differ from its linear bound for the bound to be trusted


@dataclass(frozen=True, kw_only=True)
class APGD(FixedEps):
    """Auto-PGD: gradient ascent with momentum that sets its own step sizes.

        z       = P(x_k + eta * steepest(grad L(x_k)))
        x_(k+1) = P(x_k + a * (z - x_k) + (1 - a) * (x_k - x_(k-1)))

    P projects into the ball and into [0, 1]; a is 1 in the first step and .75 afterwards. eta
    begins at 2 eps. At a checkpoint w_j it is halved, and the search continues from the best point
    so far, if either condition holds:

        fewer than .75 of the steps since w_(j-1) raised L              (condition 1)
        neither eta nor the best L has changed since w_(j-1)            (condition 2)

    The checkpoints are w_j = ceil(p_j * steps), where p_0 = 0, p_1 = .22 and
    p_(j+1) = p_j + max(p_j - p_(j-1) - .03, .06). `loss="targeted_dlr"` is the form of section 4.2:
    it runs once towards each of the most likely other classes, and any wrong class is a success.

    With `norm="l1"` a step is sparse: the signs of the k largest entries of the gradient, of L1
    size eta, without momentum. After every 4 % of the steps k becomes 1/1.5 of the number of values
    that the best point so far changes. Where that number fell by 5 % or more, eta is reset to eps
    and the search continues from that point; elsewhere eta is divided by 1.5, down to eps / 10. The
    first 30 % of the steps search in 3 eps, the next in 2 eps, and the rest in eps from where they
    ended.

    Source: Croce & Hein (2020), arXiv 2003.01690, Algorithm 1 and section 4.2; for L1 Croce & Hein
    (2021), arXiv 2103.01208, Algorithm 1 and section 3.3.

    Deviations: as in `PGD` the first restart begins at the image itself, images leave at the step
    that fools the model, and restarts and targets run side by side where they fit a chunk. Towards
    a class that the caller chose, the targeted loss is the lead over the best of all other classes.

    A run also stops early. At a checkpoint, and after a ninth of the steps, a run stops if its loss
    would have to rise by more than 4 times the linear bound, which is how much its gradient can
    gain in the rest of the ball. It stops only if the bound at its beginning was accurate so far,
    to a factor of 4: a masked gradient gives no bound to rely on. This needs a loss that is
    positive on success. In the place of the cross-entropy L that is log(exp(L) - 1), the log odds
    against the label. With it, a run towards a class that the caller chose never stops early.
    `benchmarks/giving_up.py` measures what is spared, and whether an image is lost.

    Against a stochastic model every run goes to its end, and fresh draws judge both its last point
    and the one of the highest loss. With `common_noise=True` the losses that the step size depends
    on can be compared.

    Args:
        eps: radius, in units of the [0, 1] image range.
        steps: gradient steps of one run.
        restarts: runs from each image, the first from the image itself; with targets, for each.
        loss: `"cross_entropy"`, `"margin"`, `"probability_margin"`, `"dlr"` or `"targeted_dlr"`.
            With fewer classes than it needs (3, targeted 4) a DLR loss is the margin, which is
            logged as a warning.
        targets: how many of the most likely other classes `"targeted_dlr"` runs towards.
        order: `"likelihood"`, or `"distance"` for MALT's order, by the distance to the linearised
            boundary of each class at the image.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.5]]), torch.tensor([0])
        >>> APGD(eps=0.1)(model, x, y).robust_accuracy
        0.0
    """

    source: ClassVar[str] = "Croce & Hein 2020, arXiv 2003.01690"
    randomness: ClassVar[str] = "random starts"
    stackable: ClassVar[bool] = True
    supported_norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2", "l1")

    eps: float = 8 / 255
    steps: int = 100
    restarts: int = 5
    loss: str = "cross_entropy"
    targets: int = 9
    order: str = "likelihood"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in (valid := [*LOSSES, "targeted_dlr"]):
            raise unknown_name("attack loss", self.loss, valid)
        check_order(self.order)

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(eps=0.1, steps=10, restarts=2)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Climb towards each target, from the images and then from random starts.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: of the random starts.
        """
        best = query.best(x)
        loss, classes = self._aim(query, x)
        ways = 1 if classes is None else classes.shape[1]
        for rows, attempt in best.attempts(self.restarts * ways, self.chunk):
            start = self.starts(query, x[rows], rows, attempt // ways, generator)
            targets = None if classes is None else classes[rows, attempt % ways]
            last = self
            if self.norm == "l1":
                wide = min(round(_WIDER_SHARE * self.steps), (self.steps - 1) // 2)
                start = self._approach(query, x[rows], rows, start, loss, targets, wide)
                last = replace(self, steps=self.steps - len(_WIDER) * wide)
            last._climb(query, best, x[rows], rows, start, loss, targets)
        return best.x

    def _approach(
        self,
        query: Query,
        origin: Tensor,
        rows: Tensor,
        start: Tensor,
        loss: AttackLoss | TargetedLoss,
        targets: Tensor | None,
        steps: int,
    ) -> Tensor:
        """Where to begin in the ball: the ends of searches in balls three and two times as wide."""
        everyone = torch.arange(len(rows), device=rows.device)
        for factor in _WIDER if steps else ():
            wider = replace(self, eps=factor * self.eps, steps=steps)
            with query.only(rows):
                best = Best(start)
                wider._climb(query, best, origin, everyone, start, loss, targets)
            start = best.x
        return self.clip(start, origin)

    def _aim(self, query: Query, x: Tensor) -> tuple[AttackLoss | TargetedLoss, Tensor | None]:
        """The loss, and the classes `[b, k]` to climb towards, if there are any."""
        if query.targeted:
            return resolve_loss(
                self.loss.removeprefix("targeted_"), query.classes, targeted=True
            ), None
        if self.loss != "targeted_dlr":
            return resolve_loss(self.loss, query.classes), None
        warn_of_few_classes(self.loss, query.classes)
        everyone = torch.arange(len(x), device=x.device)
        return targeted_dlr, rivals(
            *(query, x, everyone, query.logits(x, everyone)),
            *(min(self.targets, query.classes - 1), self.order, self.norm),
        )

    def _climb(
        self,
        query: Query,
        best: Best,
        origin: Tensor,
        rows: Tensor,
        start: Tensor,
        loss: AttackLoss | TargetedLoss,
        targets: Tensor | None,
    ) -> None:
        """Climb from `start: [b, ...]`, offering to `best` what fools, and the highest point."""
        ascent = query.ascend(start, rows, aimed(loss, targets))
        begun, gradient = self._on_success(ascent.value, ascent.gradient)
        bound = rise_left(gradient, start, origin, self.norm, self.eps)
        step_size = self.eps if self.norm == "l1" else 2 * self.eps
        state = _State.begin(ascent, rows, origin, start, targets, step_size, begun, bound)
        last, marks = 0, self._marks()
        patient = query.stochastic or (query.targeted and self.loss == "cross_entropy")
        looks = set() if patient else marks | {self.steps // _EARLY}
        for step in range(self.steps):
            if step:
                ascent = query.ascend(state.x, state.rows, aimed(loss, state.targets))
                state.take(ascent)
            if not query.stochastic and (fooled := query.fooled(ascent.logits, state.rows)).any():
                best.offer(state.rows[fooled], state.x[fooled], state.value[fooled], fooled[fooled])
                state.keep((~best.fooled[state.rows]).nonzero().squeeze(1))
                if not len(state.rows):
                    return
            if step in marks:
                if self.norm == "l1":
                    state.resize(self.eps)
                else:
                    state.halve(_RISES * (step - last))
                last = step
            if step in looks:
                self._stop_hopeless(best, state)
                if not len(state.rows):
                    return
            self._step(state, _MOMENTUM if step else 1.0)
        # The highest point of a deterministic model was evaluated already, and does not fool.
        if query.stochastic:
            self._judge(query, best, state, state.peak_x, loss)
        else:
            best.offer(state.rows, state.peak_x, state.peak, torch.zeros_like(state.halved))
        self._judge(query, best, state, state.x, loss)

    def _marks(self) -> set[int]:
        if self.norm != "l1":
            return set(checkpoints(self.steps))
        every = max(1, round(_RESIZED_EVERY * self.steps))
        return set(range(every, self.steps, every))

    def _step(self, state: _State, momentum: float) -> None:
        size = per_image(state.step_size, state.x)
        if self.norm == "l1":
            direction = sparse(state.gradient, state.x, state.changed)
            state.x = self.clip(state.x + size * direction, state.origin)
            return
        goal = self.clip(state.x + size * steepest(state.gradient, self.norm), state.origin)
        move = momentum * (goal - state.x) + (1 - momentum) * (state.x - state.previous)
        state.previous = state.x
        state.x = self.clip(state.x + move, state.origin)

    def _stop_hopeless(self, best: Best, state: _State) -> None:
        """Stop runs whose gap exceeds 4 times the linear bound, if that was accurate so far."""
        peak, gradient = self._on_success(state.peak, state.peak_gradient)
        bound = rise_left(gradient, state.peak_x, state.origin, self.norm, self.eps)
        ratio = (peak - state.begun) / state.bound
        accurate = (ratio >= 1 / _FACTOR) & (ratio <= _FACTOR)
        hopeless = accurate & (-peak > _FACTOR * bound)
        if hopeless.any():
            fooled = torch.zeros_like(hopeless)
            ends = (state.rows, state.peak_x, state.peak, fooled)
            best.offer(*(part[hopeless] for part in ends))
            state.keep((~hopeless).nonzero().squeeze(1))

    def _on_success(self, value: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """A value that is positive wherever an attack has succeeded, and its gradient.

        That is the loss, or for the cross-entropy the logarithm of the odds against the label;
        where those are zero in float32 it is not finite, and no run stops.
        """
        if self.loss != "cross_entropy":
            return value, gradient
        scale = -torch.expm1(-value)
        return torch.expm1(value).log(), gradient / per_image(scale, gradient)

    @staticmethod
    def _judge(
        query: Query, best: Best, state: _State, x: Tensor, loss: AttackLoss | TargetedLoss
    ) -> None:
        verdict = query.verdict(x, state.rows)
        value = query.objective(verdict.logits, state.rows, aimed(loss, state.targets))
        best.offer(state.rows, x, value, verdict.fooled)


@dataclass
class _State:
    """Runs in progress, one in each row: every tensor is `[b]` or `[b, ...]`."""

    rows: Tensor
    origin: Tensor
    x: Tensor
    previous: Tensor
    value: Tensor
    gradient: Tensor
    peak_x: Tensor
    peak: Tensor
    peak_gradient: Tensor
    step_size: Tensor
    rises: Tensor  # since the last checkpoint
    halved: Tensor  # at the last checkpoint
    checked_peak: Tensor  # the peak at the last checkpoint
    begun: Tensor  # the value where the run began
    bound: Tensor  # how much the linearisation there can rise in the ball
    changed: Tensor  # values that a sparse step changes
    support: Tensor  # values that the best point had changed at the last checkpoint
    targets: Tensor | None

    @classmethod
    def begin(
        cls,
        ascent: Ascent,
        rows: Tensor,
        origin: Tensor,
        x: Tensor,
        targets: Tensor | None,
        step_size: float,
        begun: Tensor,
        bound: Tensor,
    ) -> _State:
        value, gradient, _ = ascent
        sizes = x.new_full((len(x),), step_size)
        inputs = x[0].numel()
        changed = max(1, round(_SPARSE_SHARE * inputs))
        never = torch.zeros_like(rows, dtype=torch.bool)
        return cls(
            *(rows, origin, x, x, value, gradient, x.clone(), value.clone(), gradient.clone()),
            *(sizes, torch.zeros_like(rows), never, value.clone(), begun, bound),
            *(torch.full_like(rows, changed), torch.full_like(rows, inputs), targets),
        )

    def take(self, ascent: Ascent) -> None:
        """Update the peak and the count of rises with the gradient at `x`."""
        self.rises += ascent.value > self.value
        self.value, self.gradient = ascent.value, ascent.gradient
        higher = self.value > self.peak
        wide = per_image(higher, self.x)
        self.peak = torch.where(higher, self.value, self.peak)
        self.peak_x = torch.where(wide, self.x, self.peak_x)
        self.peak_gradient = torch.where(wide, self.gradient, self.peak_gradient)

    def halve(self, enough: float) -> None:
        """Halve the step size, and go back to the peak, where either condition holds."""
        stuck = ~self.halved & (self.peak == self.checked_peak)
        self.halved = (self.rises < enough) | stuck
        self.checked_peak = self.peak
        self.rises = torch.zeros_like(self.rises)
        self.step_size = torch.where(self.halved, self.step_size / 2, self.step_size)
        self._go_back(self.halved)

    def resize(self, eps: float) -> None:
        """Adapt the number of values that a step changes to the best point, and the step size."""
        support = (self.peak_x != self.origin).flatten(1).sum(1)
        fewer = support < _FEWER * self.support
        self.changed = (support / _SHRINK).long().clamp_min(1)
        self.step_size = torch.where(fewer, eps, self.step_size / _SHRINK).clamp_min(eps / 10)
        self.support = support
        self._go_back(fewer)

    def _go_back(self, where: Tensor) -> None:
        """Continue from the peak at the places `where: [b]`."""
        wide = per_image(where, self.x)
        self.x = torch.where(wide, self.peak_x, self.x)
        self.gradient = torch.where(wide, self.peak_gradient, self.gradient)
        self.value = torch.where(where, self.peak, self.value)

    def keep(self, left: Tensor) -> None:
        for field in fields(self):
            if (tensor := getattr(self, field.name)) is not None:
                setattr(self, field.name, tensor[left])


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step size may be halved: `w_1, w_2, ...`, below `steps`."""
    marks, before, share = [], 0, 22  # in hundredths: sums of floats would miss by a step
    while (mark := -(-share * steps // 100)) < steps:
        marks.append(mark)
        before, share = share, share + max(share - before - 3, 6)
    return marks
