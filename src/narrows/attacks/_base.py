"""What every attack shares, so that an attack's own file holds only its own step.

The base owns the checks of the input, evaluation mode, the random numbers, chunks that fit the
memory, dropping images that are misclassified anyway, expectation over a stochastic model's noise,
the count of forward and backward passes, and the verdict: success is decided again on the images
that are returned, and for a stochastic model on a fresh and larger set of draws than the attack's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from narrows.attacks import norms
from narrows.attacks.losses import AttackLoss
from narrows.errors import ConfigError, InputError
from narrows.models.outputs import average_logits, logits_of
from narrows.types import AttackResult, Norm

__all__ = ["Ascent", "Attack", "FixedEps", "MinimalNorm", "Query", "frozen"]


class Ascent(NamedTuple):
    """One look uphill: the loss to raise `[n]`, its gradient `[n, ...]`, the logits `[n, C]`."""

    value: Tensor
    gradient: Tensor
    logits: Tensor


class Query:
    """The model as an attack sees it: logits and gradients, counted, for images `rows` of a chunk.

    `rows: [b]` says which labels of the chunk belong to the `b` images that are passed, so that an
    attack can leave fooled images behind. `labels` are true classes, or targets if `targeted`.
    """

    def __init__(self, model: nn.Module, labels: Tensor, *, targeted: bool, draws: int) -> None:
        self.labels = labels
        self.targeted = targeted
        self.forwards = 0
        self.backwards = 0
        self._model = model
        self._draws = draws

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[b, C]`, averaged in probability over the attack's draws of the model's noise."""
        self.forwards += len(x) * self._draws
        if self._draws == 1:
            return logits_of(self._model, x)
        repeated = logits_of(self._model, x.repeat(self._draws, *(1,) * (x.dim() - 1)))
        return average_logits(repeated.unflatten(0, (self._draws, len(x))))

    def single_draw(self, x: Tensor) -> Tensor:
        """Logits `[b, C]` of one draw of the model's noise."""
        self.forwards += len(x)
        return logits_of(self._model, x)

    def fooled(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Whether each of `logits: [b, C]` is what the attack wants: `[b]` bool."""
        hit = logits.argmax(1) == self.labels[rows]
        return hit if self.targeted else ~hit

    def ascend(self, x: Tensor, rows: Tensor, loss: AttackLoss) -> Ascent:
        """Value and gradient of the objective that the attack raises at `x: [b, ...]`."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.logits(x)
            value = loss(logits, self.labels[rows])
            if self.targeted:
                value = -value
            (gradient,) = torch.autograd.grad(value.sum(), x)
        self.backwards += len(x) * self._draws
        return Ascent(value.detach(), gradient, logits.detach())

    def jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[b, C]` and their gradients `[b, C, ...]` with respect to each image."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.logits(x)
            columns = [
                torch.autograd.grad(logits[:, c].sum(), x, retain_graph=c + 1 < logits.shape[1])[0]
                for c in range(logits.shape[1])
            ]
        self.backwards += len(x) * self._draws * logits.shape[1]
        return logits.detach(), torch.stack(columns, 1)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode without parameter gradients; leave it as it was found."""
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


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """A search for misclassified images near given ones.

    Args:
        norm: `"linf"` or `"l2"`: how the size of a perturbation is measured.
        draws: how many draws of a stochastic model's noise each gradient is averaged over (EOT).
        verify_draws: fresh draws on which success against a stochastic model is decided.
        chunk: images attacked at once; lower it if memory runs out. Random starts depend on it.
        seed: seed of every random number, including the model's own noise.
    """

    norm: Norm = "linf"
    draws: int = 1
    verify_draws: int = 100
    chunk: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise ConfigError(f"norm must be 'linf' or 'l2', got {self.norm!r}")
        for name in ("draws", "verify_draws", "chunk"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")

    @abstractmethod
    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Attack one chunk `x: [b, ...]` of images that are not fooled yet.

        The result has the same shape and lies in [0, 1]. Whether it fools the model is decided by
        the base, so an attack that has lost may return its best attempt.
        """

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None = None
    ) -> AttackResult:
        """Attack `model` at images `x` of classes `y`; towards `target: [n]` where it is given.

        Args:
            model: returns logits `[n, classes]` or a `ModelOutput`; normalises its own input.
            x: `[n, ...]` floating point images in [0, 1].
            y: `[n]` integer labels.
            target: `[n]` classes the images shall be taken for; success means just that.

        Raises:
            InputError: for images outside [0, 1] or not finite, labels that don't fit the model, or
                a model that returns NaN.
        """
        check_images(x, y if target is None else target)
        labels = y if target is None else target
        devices = [x.device] if x.device.type == "cuda" else []
        with frozen(model), torch.no_grad(), torch.random.fork_rng(devices):
            torch.manual_seed(self.seed)
            generator = torch.Generator(x.device).manual_seed(self.seed)
            verify_draws = self.verify_draws if is_stochastic(model, x) else 1
            parts = []
            for x_part, label_part in zip(
                x.split(self.chunk), labels.split(self.chunk), strict=True
            ):
                query = Query(model, label_part, targeted=target is not None, draws=self.draws)
                parts.append(self._attack_chunk(query, x_part, generator, verify_draws))
        return _merge(parts)

    def _attack_chunk(
        self, query: Query, x: Tensor, generator: torch.Generator, verify_draws: int
    ) -> AttackResult:
        start = _verify(query, x, verify_draws)
        rows = (~start.success).nonzero().squeeze(1)
        x_adv = x.clone()
        if len(rows):
            labels, query.labels = query.labels, query.labels[rows]
            x_adv[rows] = self.perturb(query, x[rows], generator)
            query.labels = labels
        verdict = _verify(query, x_adv, verify_draws)
        # An image that was wrong before the attack stays counted as such on any later draw.
        success = verdict.success | start.success
        distance = norms.size(x_adv - x, self.norm).masked_fill(~success, math.inf)
        return AttackResult(
            x_adv, success, distance, query.forwards, query.backwards, verdict.fooled_rate
        )


@dataclass(frozen=True, kw_only=True)
class FixedEps(Attack):
    """An attack inside the ball of radius `eps`, in units of the [0, 1] image range."""

    eps: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eps < math.inf or (self.norm == "linf" and self.eps > 1):
            raise ConfigError(
                f"eps must lie in [0, 1] for images in [0, 1], got {self.eps}; "
                "divide by 255 if it was meant for 0-255 images"
            )

    def clip(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Bring `x_adv` back into the ball around `x` and into [0, 1]."""
        return (x + norms.project(x_adv - x, self.norm, self.eps)).clamp_(0, 1)


class MinimalNorm(Attack):
    """An attack that looks for the smallest perturbation that fools the model."""


def check_images(x: Tensor, y: Tensor) -> None:
    """Refuse images or labels that no attack could mean anything on.

    Raises:
        InputError: naming what was expected and what arrived.
    """
    if not x.is_floating_point() or x.dim() < 2:
        raise InputError(f"images must be floating point [n, ...], got {x.dtype} {tuple(x.shape)}")
    if y.shape != x.shape[:1] or y.is_floating_point() or y.dtype == torch.bool:
        raise InputError(
            f"labels must be integers of shape [{len(x)}], got {y.dtype} {tuple(y.shape)}"
        )
    if not len(x):
        raise InputError("no images to attack: x is empty")
    low, high = x.aminmax()
    if not (low >= 0 and high <= 1):  # NaN fails the comparison too
        raise InputError(
            f"images must lie in [0, 1], got values from {low.item():.4g} to {high.item():.4g}; "
            "make normalisation part of the model"
        )


def is_stochastic(model: nn.Module, x: Tensor) -> bool:
    """Whether two passes over the same few images give different logits."""
    few = x[:8]
    return not torch.equal(logits_of(model, few), logits_of(model, few))


class _Verdict(NamedTuple):
    success: Tensor
    fooled_rate: Tensor


def _verify(query: Query, x: Tensor, draws: int) -> _Verdict:
    """Decide success on `draws` fresh draws: the expected vote, and the share of wrong draws."""
    rows = torch.arange(len(x), device=x.device)
    drawn = []
    for _ in range(draws):
        drawn.append(query.single_draw(x))
        _check_logits(drawn[-1], query.labels)
    wrong = torch.stack([query.fooled(logits, rows) for logits in drawn]).double().mean(0)
    # A single draw is not averaged: argmax of the logits has no ties where a softmax saturates.
    return _Verdict(query.fooled(average_logits(torch.stack(drawn).squeeze(0)), rows), wrong)


def _check_logits(logits: Tensor, labels: Tensor) -> None:
    if not torch.isfinite(logits).all():
        raise InputError("the model returned NaN or infinite logits; an attack cannot judge it")
    low, high = labels.min().item(), labels.max().item()
    if low < 0 or high >= logits.shape[1]:
        raise InputError(
            f"labels must lie in 0..{logits.shape[1] - 1} for this model, got {low}..{high}"
        )


def _merge(parts: list[AttackResult]) -> AttackResult:
    def join(read: Callable[[AttackResult], Tensor]) -> Tensor:
        return torch.cat([read(part) for part in parts])

    return AttackResult(
        x_adv=join(lambda part: part.x_adv),
        success=join(lambda part: part.success),
        distance=join(lambda part: part.distance),
        forwards=sum(part.forwards for part in parts),
        backwards=sum(part.backwards for part in parts),
        fooled_rate=join(lambda part: part.fooled_rate),
    )
