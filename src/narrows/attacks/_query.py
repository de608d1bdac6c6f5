"""The model as an attack sees it: logits, gradients and verdicts, each pass counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from narrows.attacks.losses import AttackLoss
from narrows.errors import InputError
from narrows.models.bottleneck import draw_logits
from narrows.models.outputs import average_logits

__all__ = ["Ascent", "Query", "Verdict", "frozen"]


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
    """

    logits: Tensor
    fooled: Tensor
    fooled_rate: Tensor


class Query:
    """The model behind the labels of one chunk of images.

    `rows: [b]` says which labels of the chunk belong to the `b` images that are passed, so that an
    attack can leave fooled images behind.

    Args:
        model: any classifier, already in evaluation mode.
        labels: `[n]` true classes, or the classes to reach if `targeted`.
        stochastic: whether two passes over one image differ.
        draws: how many draws of a stochastic model's noise an attack's own look averages over.
        verify_draws: how many fresh ones a verdict does.
        common_noise: seed of the global generator before each of the attack's own looks, so that
            they all meet the same noise; `None` for fresh noise. A verdict's is always fresh.
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
    ) -> None:
        self.labels = labels
        self.targeted = targeted
        self.stochastic = stochastic
        self.forwards = 0
        self.backwards = 0
        self.classes = 0  # not known before the first verdict
        self.model = model
        self._common_noise = common_noise if stochastic else None
        self.draws = draws if stochastic else 1
        self.verify_draws = verify_draws if stochastic else 1

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[b, C]`, averaged in probability over the attack's draws of the model's noise."""
        self.forwards += len(x) * self.draws
        with self._noise(x):
            # A pass a draw: noise of the weights is the same for all images of a pass.
            drawn = self._drawn(x)
        # Of the images' precision, whatever the model computes in.
        return (drawn[0] if self.draws == 1 else average_logits(drawn)).to(x.dtype)

    def _drawn(self, x: Tensor) -> Tensor:
        try:
            return draw_logits(self.model, x, self.draws)
        except RuntimeError as error:
            if "requires grad" not in str(error):
                raise
            raise InputError(
                f"the model cannot be run where a gradient is asked for ({error}); keep it in "
                "PyTorch and out of place, take an attack without gradients (Square), or let the "
                "audit find a way"
            ) from error

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
        others = self.logits(x).scatter(1, self.labels[rows].unsqueeze(1), float("-inf"))
        return others.topk(count, dim=1).indices

    def fooled(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Whether each of `logits: [b, C]` is what the attack wants: `[b]` bool."""
        hit = logits.argmax(1) == self.labels[rows]
        return hit if self.targeted else ~hit

    def objective(self, logits: Tensor, rows: Tensor, loss: AttackLoss) -> Tensor:
        """What the attack raises, `[b]`: the loss of the labels, negative towards targets."""
        value = loss(logits, self.labels[rows])
        return -value if self.targeted else value

    def verdict(self, x: Tensor, rows: Tensor) -> Verdict:
        """Judge images `x: [b, ...]`: one pass, or the expected vote of fresh draws.

        Raises:
            InputError: if the model returns NaN or not a row an image, or has too few classes for
                the labels.
        """
        self.forwards += len(x) * self.verify_draws
        drawn = draw_logits(self.model, x, self.verify_draws)
        _check_logits(drawn, x, self.labels)
        self.classes = drawn.shape[-1]
        rate = torch.stack([self.fooled(logits, rows) for logits in drawn]).double().mean(0)
        # A single draw is not averaged: argmax of the logits has no ties where a softmax saturates.
        logits = average_logits(drawn.squeeze(0))
        return Verdict(logits, self.fooled(logits, rows), rate)

    def ascend(self, x: Tensor, rows: Tensor, loss: AttackLoss) -> Ascent:
        """Value and gradient of the objective that the attack raises at `x: [b, ...]`."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.logits(x)
            value = self.objective(logits, rows, loss)
        gradient = self.gradient(value, x, retain=False)
        return Ascent(value.detach(), gradient, logits.detach())

    def gaps(self, x: Tensor, held: Tensor, rivals: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Lead of each rival class over the class that is held, and its gradient, one at a time.

        One backward pass a rival, because that was measured faster on convolutions than a batched
        Jacobian, and because no more than one gradient has to be kept.

        Args:
            x: `[b, ...]` images.
            held: `[b]` classes.
            rivals: `[b, k]` classes.

        Yields:
            For each of the `k` columns `logits[rival] - logits[held]: [b]` and its gradient
            `[b, ...]`.
        """
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.logits(x)
            lead = logits.gather(1, rivals) - logits.gather(1, held.unsqueeze(1))
            columns = lead.unbind(1)
        for k, column in enumerate(columns, start=1):
            yield column.detach(), self.gradient(column, x, retain=k < len(columns))

    def gradient(self, value: Tensor, x: Tensor, *, retain: bool) -> Tensor:
        """Gradient at `x: [b, ...]` of each image's own `value: [b]`, or of one for all of them.

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
        # One sum is the cheapest look; only if it fails is it worth finding out where.
        if not torch.isfinite(gradient.sum()):
            bad = int((~torch.isfinite(gradient)).flatten(1).any(1).sum())
            if bad:
                raise InputError(
                    f"the model's gradient is NaN or infinite at {bad} of {len(x)} images; an "
                    "attack would seem to fail there, so mend the model or attack it without "
                    "gradients"
                )
        return gradient


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode without parameter gradients; leave it as it was found."""
    if not isinstance(model, nn.Module):
        raise InputError(
            f"a model must be a torch.nn.Module, got {type(model).__name__}; wrap it in one"
        )
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in flags:
            parameter.requires_grad_(requires_grad)


def _check_logits(logits: Tensor, x: Tensor, labels: Tensor) -> None:
    if logits.dim() != 3 or logits.shape[1] != len(x):
        raise InputError(
            f"a model must return logits [{len(x)}, classes] for {len(x)} images, got "
            f"{list(logits.shape[1:])}"
        )
    if not logits.is_floating_point():
        raise InputError(f"the model returns {logits.dtype}, expected floating point logits")
    if not torch.isfinite(logits).all():
        raise InputError("the model returned NaN or infinite logits; an attack cannot judge it")
    low, high = labels.min().item(), labels.max().item()
    if low < 0 or high >= logits.shape[-1]:
        raise InputError(
            f"labels must lie in 0..{logits.shape[-1] - 1} for this model, got {low}..{high}"
        )
