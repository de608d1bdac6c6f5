"""The model as an attack sees it: logits, gradients and verdicts, each pass counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from narrows.attacks._precision import Precision
from narrows.attacks.losses import AttackLoss, toward
from narrows.attacks.norms import exact, per_image
from narrows.checks import check_labels, check_logits
from narrows.errors import InputError, NarrowsError
from narrows.models.bottleneck import draw_logits
from narrows.models.evaluating import evaluating
from narrows.models.outputs import average_logits

__all__ = ["Ascent", "Query", "Verdict", "frozen", "named_errors"]

_LEAST = -1e30  # logit of a class of probability 0: the differences of infinities are no numbers
_NAMED = 5  # images that an error lists by their numbers


class Ascent(NamedTuple):
    """One look uphill: objective to raise `[b]`, its gradient `[b, ...]`, logits `[b, C]`."""

    value: Tensor
    gradient: Tensor
    logits: Tensor


class Verdict(NamedTuple):
    """What the model makes of images `[b, ...]`, on fresh draws where it is stochastic.

    Attributes:
        logits: `[b, C]`, averaged in probability over the draws.
        fooled: `[b]` bool, whether these logits are what the attack wants.
        fooled_rate: `[b]`, share of single draws that are.
        sure: `[b]` bool, whether the vote is lost or won by two standard errors or more.
    """

    logits: Tensor
    fooled: Tensor
    fooled_rate: Tensor
    sure: Tensor


class Query:
    """The model behind the labels of one chunk of images.

    `rows: [b]` says which labels of the chunk belong to the `b` images that are passed, so that an
    attack can leave fooled images behind.

    Args:
        model: any classifier, already in evaluation mode.
        labels: `[n]` true classes, or the classes to reach if `targeted`.
        targeted: what `labels` are.
        stochastic: whether two passes over one image differ.
        draws: how many draws of a stochastic model's noise an attack's own look averages over.
        verify_draws: how many fresh ones a verdict does.
        common_noise: seed of the global generator before each of the attack's own looks, so that
            they all meet the same noise; `None` for fresh noise. A verdict's is always fresh.
        origin: `[n, ...]`, the images, where rounding must stay within a radius of them.
        precision: how images reach the model; `None` to hand them over as they are.
        first: number of the chunk's first image among all, for errors.
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
        self.classes = 0  # not known before the first verdict
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
        """Forget all labels but those of `rows: [b]` for a while, which are then counted from 0."""
        before = self.labels, self._origin, self._numbers
        self.labels, self._numbers = self.labels[rows], self._numbers[rows]
        self._origin = None if self._origin is None else self._origin[rows]
        try:
            yield
        finally:
            self.labels, self._origin, self._numbers = before

    def given(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """What the model sees of `x: [b, ...]`; within the radius where `rows` are known."""
        if self.precision is None:
            return x
        origin = None if rows is None or self._origin is None else self._origin[rows]
        return self.precision.given(x, origin)

    def logits(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Logits `[b, C]`, averaged in probability over the attack's draws of the model's noise."""
        return self._look(self.given(x, rows)).to(exact(x.dtype))

    def _look(self, seen: Tensor) -> Tensor:
        self.forwards += len(seen) * self.draws
        with self._noise(seen):
            # A pass a draw: noise of the weights is the same for all images of a pass.
            drawn = self._drawn(seen, self.draws)
        drawn = drawn.to(exact(drawn.dtype)).clamp_min(_LEAST)
        return drawn[0] if self.draws == 1 else average_logits(drawn)

    def _drawn(self, seen: Tensor, count: int) -> Tensor:
        with named_errors(seen):
            return draw_logits(self.model, seen, count)

    @contextmanager
    def _noise(self, x: Tensor) -> Iterator[None]:
        """The same noise at every look, where that was asked for."""
        if self._common_noise is None:
            yield
            return
        with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
            torch.manual_seed(self._common_noise)
            yield

    def rivals(self, x: Tensor, rows: Tensor, count: int) -> Tensor:
        """The `count` most likely classes other than the label at `x: [b, ...]`: `[b, count]`."""
        others = self.logits(x, rows).scatter(1, self.labels[rows].unsqueeze(1), float("-inf"))
        return others.topk(count, dim=1).indices

    def fooled(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Whether each of `logits: [b, C]` is what the attack wants: `[b]` bool."""
        hit = logits.argmax(1) == self.labels[rows]
        return hit if self.targeted else ~hit

    def objective(self, logits: Tensor, rows: Tensor, loss: AttackLoss) -> Tensor:
        """What the attack raises, `[b]`: the loss of the labels, or its form towards targets."""
        return (toward(loss) if self.targeted else loss)(logits, self.labels[rows])

    def verdict(self, x: Tensor, rows: Tensor) -> Verdict:
        """Judge images `x: [b, ...]`: one pass, or the expected vote of fresh draws.

        Raises:
            InputError: if the model returns NaN or not a row an image, or has too few classes for
                the labels.
        """
        self.forwards += len(x) * self.verify_draws
        drawn = self._drawn(self.given(x, rows), self.verify_draws)
        self._check(drawn, rows)
        self.classes = drawn.shape[-1]
        drawn = drawn.to(exact(drawn.dtype)).clamp_min(_LEAST)
        rate = torch.stack([self.fooled(logits, rows) for logits in drawn]).double().mean(0)
        # A single draw is not averaged: argmax of the logits has no ties where a softmax saturates.
        logits = average_logits(drawn.squeeze(0))
        sure = _sure(drawn, logits, self.labels[rows])
        # Judged in the precision that the model computes in, and handed on in that of the attack.
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
                "0; leave those images out, or mend the model"
            )
        kind = "targets" if self.targeted else "labels"
        check_labels(self.labels, classes=drawn.shape[-1], name=kind)

    def ascend(self, x: Tensor, rows: Tensor, loss: AttackLoss) -> Ascent:
        """Value and gradient of the objective that the attack raises at `x: [b, ...]`.

        Where a logit is minus infinity a gradient may be no number: there is no way up then.
        """
        seen = self.given(x.detach(), rows).detach().requires_grad_()
        with torch.enable_grad():
            logits = self._look(seen).to(exact(x.dtype))
            value = self.objective(logits, rows, loss)
        gradient = self.gradient(value, seen, retain=False, logits=logits)
        return Ascent(value.detach(), gradient.to(x.dtype), logits.detach())

    def gaps(
        self, x: Tensor, held: Tensor, rivals: Tensor, rows: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Lead of each rival class over the class that is held, and its gradient, one at a time.

        One backward pass a rival, because that was measured faster on convolutions than a batched
        Jacobian, and because no more than one gradient has to be kept.

        Args:
            x: `[b, ...]` images.
            held: `[b]` classes.
            rivals: `[b, k]` classes.
            rows: `[b]`, which labels of the chunk belong to the images.

        Yields:
            For each of the `k` columns `logits[rival] - logits[held]: [b]` and its gradient
            `[b, ...]`.
        """
        seen = self.given(x.detach(), rows).detach().requires_grad_()
        with torch.enable_grad():
            logits = self._look(seen).to(exact(x.dtype))
            lead = logits.gather(1, rivals) - logits.gather(1, held.unsqueeze(1))
            columns = lead.unbind(1)
        for k, column in enumerate(columns, start=1):
            retain = k < len(columns)
            gradient = self.gradient(column, seen, retain=retain, logits=logits)
            yield column.detach(), gradient.to(x.dtype)

    def gradient(
        self, value: Tensor, x: Tensor, *, retain: bool, logits: Tensor | None = None
    ) -> Tensor:
        """Gradient at `x: [b, ...]` of each image's own `value: [b]`, or of one for all of them.

        In float32 at least. Where `logits: [b, C]` say that a class has probability 0 and the
        gradient is no number, it is 0.

        Raises:
            InputError: where there is none, or it is NaN or infinite.
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
                "differentiable path (no_grad, detach, NumPy or argmax cut it); keep it in the "
                "graph, take an attack without gradients (Square), or let the audit find a way"
            )
        gradient = gradient.to(exact(gradient.dtype))
        # One sum is the cheapest look; only if it fails is it worth finding out where.
        if not torch.isfinite(gradient.sum()):
            bad = ~torch.isfinite(gradient).flatten(1).all(1)
            if logits is not None:
                dead = bad & (logits <= _LEAST).any(1)
                gradient = gradient.masked_fill(per_image(dead, gradient), 0)
                bad &= ~dead
            if bad.any():
                raise InputError(
                    f"the model's gradient is NaN or infinite at {int(bad.sum())} of {len(x)} "
                    "images; an attack would seem to fail there, so mend the model or attack it "
                    "without gradients"
                )
        return gradient


def _sure(drawn: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the label's lead over the likeliest other class is more than luck: `[b]`.

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
    """Turn whatever a stranger's model raises on `x: [b, ...]` into one line.

    Raises:
        InputError: saying what it was given; an interrupt by the user passes.
    """
    try:
        yield
    except NarrowsError:
        raise
    except (Exception, SystemExit) as error:
        said = str(error).strip().splitlines()
        line = f"{type(error).__name__}: {said[0] if said else 'without a message'}"
        if "requires grad" in str(error):
            raise InputError(
                f"the model cannot be run where a gradient is asked for ({line}); keep it in "
                "PyTorch and out of place, take an attack without gradients (Square), or let the "
                "audit find a way"
            ) from error
        if isinstance(error, MemoryError) or "out of memory" in str(error):
            raise InputError(
                f"the model runs out of memory on {len(x)} images ({line}); lower chunk="
            ) from error
        raise InputError(
            f"the model cannot be run on images {list(x.shape)} of {x.dtype} on {x.device} "
            f"({line}); bring both to one device, dtype and shape, or mend the model"
        ) from error


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode without parameter gradients; leave it as it was found."""
    if not isinstance(model, nn.Module):
        raise InputError(
            f"a model must be a torch.nn.Module, got {type(model).__name__}; wrap it in one"
        )
    flags = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        with evaluating(model):
            for parameter in flags:
                parameter.requires_grad_(False)
            yield
    finally:
        for parameter in flags:
            parameter.requires_grad_(True)
