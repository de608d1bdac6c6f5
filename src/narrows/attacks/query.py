"""The model as an attack sees it: logits, gradients and verdicts, each pass counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from narrows.attacks._best import Best
from narrows.attacks._precision import Precision
from narrows.attacks.losses import AttackLoss, toward
from narrows.attacks.norms import exact, per_image
from narrows.checks import check_labels, check_logits
from narrows.errors import InputError, NarrowsError
from narrows.models.bottleneck import draw_logits
from narrows.models.evaluating import evaluating
from narrows.models.noise import forked_rng
from narrows.models.outputs import average_logits

__all__ = ["Ascent", "Query", "Verdict", "frozen", "named_errors"]

_LEAST = -1e30  # in the place of a logit of minus infinity: the difference of two would be NaN
_NAMED = 5  # images whose numbers an error lists


class Ascent(NamedTuple):
    """One gradient: the objective to raise `[b]`, its gradient `[b, ...]`, logits `[b, C]`."""

    value: Tensor
    gradient: Tensor
    logits: Tensor


class Verdict(NamedTuple):
    """Whether images `[b, ...]` fool the model, on fresh draws where it is stochastic.

    Attributes:
        logits: `[b, C]`, averaged in probability over the draws.
        fooled: `[b]` bool, whether these logits are a success of the attack.
        fooled_rate: `[b]`, share of single draws whose logits are a success.
        sure: `[b]` bool, whether the vote is decided by two standard errors or more.
    """

    logits: Tensor
    fooled: Tensor
    fooled_rate: Tensor
    sure: Tensor


class Query:
    """The model and the labels of one chunk of images, as an attack uses them.

    Most methods take `rows: [b]`, which labels of the chunk belong to the `b` images that are
    passed. So an attack can drop images that are fooled.

    Args:
        model: any classifier, already in evaluation mode.
        labels: `[n]` true classes, or the classes to reach if `targeted`.
        targeted: what `labels` are.
        stochastic: whether two passes over one image differ.
        draws: of a stochastic model's noise, over which logits and gradients are averaged.
        verify_draws: fresh draws for each verdict.
        common_noise: seed of the global generator before each pass of the attack, so that all of
            them use the same noise; `None` for fresh noise. Verdicts always use fresh noise.
        origin: `[n, ...]`, the images, where rounding must stay within a radius of them.
        precision: the types of the images and of the model; `None` to pass images unchanged.
        first: number of the chunk's first image among all images, for errors.
    """

    def __init__(
        self,
        model: nn.Module,
        labels: Tensor,
        *,
        targeted: bool = False,
        stochastic: bool = False,
        draws: int = 1,
        verify_draws: int = 100,
        common_noise: int | None = None,
        origin: Tensor | None = None,
        precision: Precision | None = None,
        first: int = 0,
    ) -> None:
        self.labels = labels
        self.targeted = targeted
        self.stochastic = stochastic
        self.forwards = 0
        self.backwards = 0
        self.classes = 0  # unknown before the first verdict
        self.model = model
        self.draws = draws if stochastic else 1
        self.verify_draws = verify_draws if stochastic else 1
        self.grain = precision.grain if precision else torch.finfo(torch.float32).eps
        self._common_noise = common_noise if stochastic else None
        self._origin = origin
        self.precision = precision
        self._numbers = torch.arange(first, first + len(labels), device=labels.device)

    @contextmanager
    def only(self, rows: Tensor) -> Iterator[None]:
        """Restrict the chunk to `rows: [b]` inside a `with` block; rows then count from 0."""
        before = self.labels, self._origin, self._numbers
        self.labels, self._numbers = self.labels[rows], self._numbers[rows]
        self._origin = None if self._origin is None else self._origin[rows]
        try:
            yield
        finally:
            self.labels, self._origin, self._numbers = before

    def given(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """`x: [b, ...]` in the type of the model, inside the radius where `rows` are passed."""
        if self.precision is None:
            return x
        origin = None
        if rows is not None and self._origin is not None and self.precision.coarse:
            origin = self._origin[rows]
        return self.precision.given(x, origin)

    def logits(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Logits `[b, C]`, averaged in probability over the attack's draws of the model's noise."""
        return self._look(self.given(x, rows), rows).to(exact(x.dtype))

    def _look(self, seen: Tensor, rows: Tensor | None) -> Tensor:
        self.forwards += len(seen) * self.draws
        with self._noise(seen):
            # One pass for each draw: noise of the weights is shared by all images of a pass.
            drawn = self._drawn(seen, self.draws, rows)
        drawn = drawn.to(exact(drawn.dtype)).clamp_min(_LEAST)
        return drawn[0] if self.draws == 1 else average_logits(drawn)

    def _drawn(self, seen: Tensor, count: int, rows: Tensor | None) -> Tensor:
        """Logits `[count, b, C]` of as many passes over the images at `rows`."""
        with named_errors(seen):
            return draw_logits(self.model, seen, count)

    def best(self, x: Tensor) -> Best:
        """An empty record of the best attempts at images `x: [n, ...]` of the chunk."""
        return Best(x)

    def owners(
        self, rows: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[slice, torch.Generator]]:
        """Which of the images at `rows: [b]` take their random numbers from which generator.

        Args:
            rows: the images; those of one generator are neighbours.
            generator: of an attack on a single model.
        """
        yield slice(0, len(rows)), generator

    @contextmanager
    def _noise(self, x: Tensor) -> Iterator[None]:
        """The same noise in every pass, if common noise was requested."""
        if self._common_noise is None:
            yield
            return
        with forked_rng(x.device, self._common_noise):
            yield

    def fooled(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Whether each of `logits: [b, C]` is a success of the attack: `[b]` bool."""
        hit = logits.argmax(1) == self.labels[rows]
        return hit if self.targeted else ~hit

    def objective(self, logits: Tensor, rows: Tensor, loss: AttackLoss) -> Tensor:
        """What the attack raises: the loss of the labels, or its targeted form, `[b]`.

        Args:
            logits: `[b, C]`.
            rows: `[b]`, which labels of the chunk are theirs.
            loss: `(logits, labels) -> [b]`.
        """
        return (toward(loss) if self.targeted else loss)(logits, self.labels[rows])

    def verdict(self, x: Tensor, rows: Tensor) -> Verdict:
        """Judge images `x: [b, ...]`: one pass, or the expected vote of fresh draws.

        Raises:
            InputError: if the model returns NaN, or not one row for each image, or has too few
                classes for the labels.
        """
        self.forwards += len(x) * self.verify_draws
        drawn = self._drawn(self.given(x, rows), self.verify_draws, rows)
        self._check(drawn, rows)
        self.classes = drawn.shape[-1]
        drawn = drawn.to(exact(drawn.dtype)).clamp_min(_LEAST)
        rate = torch.stack([self.fooled(logits, rows) for logits in drawn]).double().mean(0)
        # A single draw is not averaged: where a softmax saturates, the logits still have no ties.
        logits = average_logits(drawn.squeeze(0))
        sure = _sure(drawn, logits, self.labels[rows])
        # Judged in the precision of the model, and returned in the precision of the attack.
        return Verdict(logits.to(exact(x.dtype)), self.fooled(logits, rows), rate, sure)

    def _check(self, drawn: Tensor, rows: Tensor) -> None:
        check_logits(torch.nan_to_num(drawn), len(rows))
        bad = (drawn.isnan() | (drawn == math.inf)).any(-1).any(0)
        if bad.any():
            numbers = self._numbers[rows[bad]]
            listed = ", ".join(map(str, numbers[:_NAMED].tolist()))
            raise InputError(
                f"the model returned NaN or infinite logits for {len(numbers)} of {len(rows)} "
                f"images, number {listed}{', ...' if len(numbers) > _NAMED else ''} counted from "
                "0; leave those images out, or fix the model"
            )
        kind = "targets" if self.targeted else "labels"
        check_labels(self.labels, classes=drawn.shape[-1], name=kind)

    def ascend(self, x: Tensor, rows: Tensor, loss: AttackLoss) -> Ascent:
        """Value and gradient of the objective that the attack raises.

        Where a logit is minus infinity a gradient may be NaN; it is returned as 0.

        Args:
            x: `[b, ...]` images.
            rows: `[b]`, which labels of the chunk are theirs.
            loss: `(logits, labels) -> [b]`.
        """
        seen = self.given(x.detach(), rows).detach().requires_grad_()
        with torch.enable_grad():
            logits = self._look(seen, rows).to(exact(x.dtype))
            value = self.objective(logits, rows, loss)
        gradient = self.gradient(value, seen, retain=False, logits=logits)
        return Ascent(value.detach(), gradient.to(x.dtype), logits.detach())

    def gaps(
        self, x: Tensor, held: Tensor, rivals: Tensor, rows: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Lead of each rival class over the class to leave, and its gradient, one rival at a time.

        Each rival takes one backward pass: on convolutions that was measured to be faster than a
        batched Jacobian, and only one gradient has to be stored.

        Args:
            x: `[b, ...]` images.
            held: `[b]`, the classes to leave.
            rivals: `[b, k]` classes.
            rows: `[b]`, which labels of the chunk are theirs.

        Yields:
            For each of the `k` columns, `logits[rival] - logits[held]: [b]` and its gradient
            `[b, ...]`.
        """
        seen = self.given(x.detach(), rows).detach().requires_grad_()
        with torch.enable_grad():
            logits = self._look(seen, rows).to(exact(x.dtype))
            lead = logits.gather(1, rivals) - logits.gather(1, held.unsqueeze(1))
            columns = lead.unbind(1)
        for k, column in enumerate(columns, start=1):
            retain = k < len(columns)
            gradient = self.gradient(column, seen, retain=retain, logits=logits)
            yield column.detach(), gradient.to(x.dtype)

    def gradient(
        self, value: Tensor, x: Tensor, *, retain: bool, logits: Tensor | None = None
    ) -> Tensor:
        """Gradient at each image of its value, in float32 at least.

        Args:
            value: `[b]`, or a scalar that belongs to all images.
            x: `[b, ...]`, the images that `value` was computed from.
            retain: whether the graph is needed for another gradient.
            logits: `[b, C]`; where they give a class probability 0, a gradient of NaN becomes 0.

        Raises:
            InputError: where there is no gradient, or it is NaN or infinite.
        """
        self.backwards += len(x) * self.draws
        gradient = None
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(
                value, x, torch.ones_like(value), retain_graph=retain, allow_unused=True
            )
        if gradient is None:
            raise InputError(
                "the model has no gradient: its output does not depend on the images by any "
                "differentiable path (no_grad, detach, NumPy and argmax interrupt it); keep the "
                "output in the graph, use an attack without gradients (Square), or run the audit, "
                "which attacks a differentiable substitute"
            )
        gradient = gradient.to(exact(gradient.dtype))
        # One sum is the cheapest test; only if it fails are the images searched.
        if not torch.isfinite(gradient.sum()):
            bad = ~torch.isfinite(gradient).flatten(1).all(1)
            if logits is not None:
                dead = bad & (logits <= _LEAST).any(1)
                gradient = gradient.masked_fill(per_image(dead, gradient), 0)
                bad &= ~dead
            if bad.any():
                raise InputError(
                    f"the model's gradient is NaN or infinite at {int(bad.sum())} of {len(x)} "
                    "images; attacks would wrongly appear to fail; fix the model or use Square"
                )
        return gradient


def _sure(drawn: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the label's lead, or its lag, is two standard errors or more: `[b]`.

    The lead is that over the likeliest other class, in probability.

    Args:
        drawn: `[draws, b, C]`.
        logits: `[b, C]`, averaged over the draws.
        labels: `[b]`.
    """
    if len(drawn) == 1:
        return torch.ones_like(labels, dtype=torch.bool)
    column = labels.unsqueeze(1)
    rival = logits.scatter(1, column, -math.inf).argmax(1, keepdim=True)
    pair = torch.cat([column, rival], 1).expand(len(drawn), -1, -1)
    lead = drawn.softmax(-1).gather(-1, pair)
    lead = lead[..., 0] - lead[..., 1]
    return lead.mean(0).abs() >= 2 * lead.std(0) / len(drawn) ** 0.5


@contextmanager
def named_errors(x: Tensor) -> Iterator[None]:
    """Turn whatever a third-party model raises on `x: [b, ...]` into an error of one line.

    Raises:
        InputError: saying what the model was called with; an interrupt by the user passes.
    """
    try:
        yield
    except NarrowsError:
        raise
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines()
        line = f"{type(error).__name__}: {lines[0] if lines else 'without a message'}"
        if "Inference tensors" in str(error):
            raise InputError(
                f"the model was made in inference mode, where nothing has a gradient ({line}); "
                "make it, or copy.deepcopy(model), outside of torch.inference_mode()"
            ) from error
        if "requires grad" in str(error):
            raise InputError(
                f"the model cannot be run when a gradient is needed ({line}); avoid NumPy and "
                "in-place operations in it, use an attack without gradients (Square), or run the "
                "audit, which attacks a differentiable substitute"
            ) from error
        if isinstance(error, MemoryError) or "out of memory" in str(error):
            raise InputError(
                f"the model runs out of memory on {len(x)} images ({line}); lower chunk="
            ) from error
        raise InputError(
            f"the model cannot be run on images {list(x.shape)} of {x.dtype} on {x.device} "
            f"({line}); bring both to the same device, dtype and shape, or fix the model"
        ) from error


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Keep a model in evaluation mode without parameter gradients, and restore it afterwards."""
    if not isinstance(model, nn.Module):
        raise InputError(
            f"a model must be a torch.nn.Module, got {type(model).__name__}; wrap it in one"
        )
    weights = [*model.parameters()]
    if any(isinstance(weight, UninitializedParameter) for weight in weights):
        raise InputError(
            "the model has lazy layers whose weights are not there yet; run it on a batch first"
        )
    flags = [weight for weight in weights if weight.requires_grad and not weight.is_inference()]
    try:
        with evaluating(model):
            for parameter in flags:
                parameter.requires_grad_(False)
            yield
    finally:
        for parameter in flags:
            parameter.requires_grad_(True)
