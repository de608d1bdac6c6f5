"""Adaptive attacks: PGD that raises the very loss that a defence was trained to keep low."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from narrows.attacks._base import FixedEps
from narrows.attacks._best import Best
from narrows.attacks.losses import cross_entropy, margin
from narrows.attacks.norms import exact
from narrows.attacks.pgd import Look, climb
from narrows.attacks.query import Query
from narrows.errors import ConfigError, InputError, unknown_name
from narrows.models.bottleneck import Mode, latent_mode
from narrows.models.gaussian import kl_to_standard_normal
from narrows.models.outputs import as_output, average_logits
from narrows.types import Batch, Latent, LossTerms, ModelOutput

__all__ = ["OBJECTIVES", "Adaptive", "Features", "Heads", "Objective", "Rate", "TrainingLoss"]

Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Rate:
    """Cross-entropy plus `weight` times the rate KL(p(z|x) || N(0, I)) in nats: `[b]`.

    With the beta that a VIB was trained with as its weight this is the VIB's training loss. With a
    weight of 1 the rate, a few hundred nats, outweighs the cross-entropy, and the label has next to
    no effect.

    Raises:
        InputError: for a model without a Gaussian latent.
    """

    weight: float = 0.01

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Value at each image.

        Args:
            model: that is attacked.
            x: `[b, ...]` images.
            y: `[b]`, their classes.
        """
        output = as_output(model(x))
        loss = cross_entropy(average_logits(output.logits), y)
        return loss + self.weight * kl_to_standard_normal(_latent(output))


class Features:
    """How much nearer the code is to that of another class than to that of its own class: `[b]`.

        J = min_i |z - z_i|^2 over own-class codes - min_j |z - z_j|^2 over other codes

    Args:
        model: computes the codes; where it is stochastic, the mean of the posterior is taken.
        x: `[m, ...]`, images of at least two classes, whose codes are the z_i and z_j.
        y: `[m]`, their classes.

    Raises:
        InputError: for a model without a latent.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        with torch.no_grad():
            self.codes = _latent(as_output(model(x))).mean
        self.classes = y

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Value at each image.

        Args:
            model: that is attacked.
            x: `[b, ...]` images.
            y: `[b]`, their classes.
        """
        mean = _latent(as_output(model(x))).mean
        # Not cdist, whose gradient at distance 0 is NaN.
        apart = (mean.unsqueeze(1) - self.codes).square().sum(-1)
        same_class = y.unsqueeze(1) == self.classes
        if not (same_class.any(1) & (~same_class).any(1)).all():
            raise InputError(
                "Features needs images of every attacked class and of another one; pass more images"
            )
        to_own = apart.where(same_class, math.inf).amin(1)
        return to_own - apart.where(~same_class, math.inf).amin(1)


@dataclass(frozen=True)
class Heads:
    """Sum of the model's cross-entropy and those of classifiers on some of its layers: `[b]`.

    Args:
        heads: for each name in the model's `activations` (see `tap`) a function from that
            activation to logits `[b, C]`.
    """

    heads: Mapping[str, Callable[[Tensor], Tensor]]

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Value at each image.

        Args:
            model: that is attacked.
            x: `[b, ...]` images.
            y: `[b]`, their classes.
        """
        output = as_output(model(x))
        total = cross_entropy(average_logits(output.logits), y)
        for name, head in self.heads.items():
            if name not in output.activations:
                raise unknown_name("activation", name, output.activations)
            total = total + cross_entropy(average_logits(head(output.activations[name])), y)
        return total


class Trainable(Protocol):
    """What a training method has, as `TrainingLoss` uses it."""

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Run the model on a batch."""
        ...

    def terms(self, output: ModelOutput, batch: Batch) -> LossTerms:
        """The loss in its parts."""
        ...


@dataclass(frozen=True)
class TrainingLoss:
    """The loss of a training method, whose regulariser sees the clean images: a scalar.

        J = prediction loss(x_adv, y) + regulariser(layers of x_adv; x, y)

    Source: the published code of Xu, Perin & Picek (2022), arXiv 2302.10896, Table 6: nHSIC(X, T)
    compares the clean images X with the layers T of the adversarial ones. With the method itself as
    objective of `Adaptive`, X are the adversarial images. Methods that do not read the images, such
    as `VIB`, have the same loss in both.

    Args:
        method: the method that the model was trained with, such as an `IBRAR`; without the
            adversarial training around it.
    """

    method: Trainable

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor | None = None
    ) -> Tensor:
        """The loss of the batch.

        Args:
            model: that is attacked.
            x: `[b, ...]` images.
            y: `[b]`, their classes.
            clean: `[b, ...]`, the images without perturbation; `None` for `x`.
        """
        output = self.method.observe(model, Batch(x, y))
        return self.method.terms(output, Batch(x if clean is None else clean, y)).total


def _plain(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(average_logits(as_output(model(x)).logits), y)


def _of_a_run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    raise ConfigError(
        'objective="method" is the training loss of a model in a run (narrows attack RUN); for '
        "another model pass TrainingLoss(method)"
    )


OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": _plain,
    "rate": Rate(),
    "method": _of_a_run,
}


@dataclass(frozen=True, kw_only=True)
class Adaptive(FixedEps):
    """PGD on any objective J, such as the loss that the defence was trained with.

        x_adv <- clip(x_adv + step_size * sign(grad_x J(model, x_adv, y)))

        J = the whole training loss of a method                 any `Method` instance
        J = the same, with clean images in its regulariser      `TrainingLoss`
        J = CE + weight * KL(p(z|x) || N(0, I))                 `Rate`, the rate of the bottleneck
        J = |z - z_own|^2 - |z - z_other|^2                     `Features`, of the nearest images
        J = CE + sum_l CE(head_l(activation_l), y)              `Heads`, one for each layer

    Towards a target, the objective of the target is descended.

    Source: Tramer, Carlini, Brendel & Madry (2020), arXiv 2002.08347, for the principle; Xu, Perin
    & Picek (2023), arXiv 2302.10896, Table 6, for the training loss; Sabour, Cao, Faghri & Fleet
    (2016), arXiv 1511.05122, for features.

    Deviations: whatever J is, success means misclassification, and of an image that is never fooled
    the step with the largest margin is returned. The feature attack not only approaches an image of
    another class but also leaves the nearest one of its own class, so that it has a targeted form.

    An objective that returns a single number for the whole batch may depend on which images share
    the batch, so images then stay until their restart ends. With one number per image, each image
    leaves once it is fooled. Against a stochastic model every restart runs to its end, as in `PGD`.

    Args:
        eps: radius, in units of the [0, 1] image range.
        objective: `(model, x, y) -> [b]` or a scalar, such as a `Method`; or `"cross_entropy"`,
            `"rate"`, or, for a model of a run, `"method"`: the loss that it was trained with.
        mode: `"mean"` takes the gradient through the posterior mean of every bottleneck, without
            noise; success is still judged on the model as it was passed.
        steps: gradient steps of one restart.
        restarts: attempts at each image, the first from the image itself.
        step_size: length of a step; `None` for 2.5 * eps / steps.

    Example:
        >>> import torch
        >>> from narrows.models import Bottleneck
        >>> model = Bottleneck(torch.nn.Linear(4, 6), torch.nn.Linear(3, 2), latent="gaussian")
        >>> attack = Adaptive(eps=0.1, objective=Rate(weight=0.01), mode="mean")
        >>> attack(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).x_adv.shape
        torch.Size([8, 4])
    """

    source: ClassVar[str] = "Tramer et al. 2020, arXiv 2002.08347"
    randomness: ClassVar[str] = "random starts"

    eps: float = 8 / 255
    objective: str | Objective = "cross_entropy"
    mode: Mode | None = None
    steps: int = 40
    restarts: int = 5
    step_size: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in (None, "mean", "sample"):
            raise ConfigError(f"mode must be 'mean', 'sample' or None, got {self.mode!r}")
        self._objective()

    def _objective(self) -> Objective:
        if not isinstance(self.objective, str):
            return self.objective
        if self.objective not in OBJECTIVES:
            raise unknown_name("objective", self.objective, OBJECTIVES)
        return OBJECTIVES[self.objective]

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(eps=0.1, steps=5, restarts=3)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Climb from the images themselves, then from random starts those not fooled yet.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: of the random starts.
        """
        best = Best(x)
        step_size = 2.5 * self.eps / self.steps if self.step_size is None else self.step_size
        rows = torch.arange(len(x), device=x.device)
        for restart in range(self.restarts):
            start = self.starts(
                query, x[rows], rows, rows.new_full((len(rows),), restart), generator
            )
            climb(
                *(self, query, best, x, rows, start, margin),
                steps=self.steps,
                step_size=step_size,
                look=lambda x_adv, rows: self._look(query, x_adv, rows, x[rows]),
            )
            rows = rows[~best.fooled[rows]]
            if not len(rows):
                break
        return best.x

    def _look(self, query: Query, x_adv: Tensor, rows: Tensor, clean: Tensor) -> Look:
        """The gradient of the objective; fooled images leave if it has a value for each image."""
        objective, labels = self._objective(), query.labels[rows]
        if isinstance(objective, TrainingLoss):
            objective = partial(objective, clean=query.given(clean, rows))
        x = query.given(x_adv.detach(), rows).detach().requires_grad_()
        model = _hookable(query.model)
        mode = latent_mode(query.model, self.mode) if self.mode else nullcontext()
        with torch.enable_grad(), mode, _watched(query, model, x) as seen:
            drawn = [objective(model, x, labels) for _ in range(query.draws)]
            value = torch.stack(drawn).mean(0)
            value = -value if query.targeted else value
        if value.shape not in ((), labels.shape) or not value.requires_grad:
            raise InputError(
                f"an objective returns a scalar or [{len(x)}] that depends on the images, got "
                f"{list(value.shape)}{'' if value.requires_grad else ' without a gradient'}"
            )
        logits = seen[0] if seen else query.logits(x.detach(), rows)
        gradient = query.gradient(value, x, retain=False, logits=logits)
        gradient, logits = gradient.to(x_adv.dtype), logits.to(x_adv.dtype)
        lead = query.objective(logits, rows, margin)
        return Look(x_adv, lead, gradient, logits, leaves=value.dim() > 0)


class _Scripted(nn.Module):
    """A module around a TorchScript one, which accepts no hooks."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x)


def _hookable(model: nn.Module) -> nn.Module:
    return _Scripted(model) if isinstance(model, torch.jit.ScriptModule) else model


@contextmanager
def _watched(query: Query, model: nn.Module, x: Tensor) -> Iterator[list[Tensor]]:
    """Count the images that an objective sends through the model; keep the logits at `x` itself."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Any, ...], result: object) -> None:
        query.forwards += len(args[0])
        if args[0] is x:
            logits = as_output(result).logits.detach()
            seen.append(average_logits(logits.to(exact(logits.dtype))))

    hook = model.register_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


def _latent(output: ModelOutput) -> Latent:
    if output.latent is None:
        raise InputError(
            "this objective needs a model with a latent; use Bottleneck(encoder, decoder), or "
            "tap(model, [...], latent='layer name') on another network"
        )
    return output.latent
