"""What every attack shares, so that an attack's own file holds only its own step.

The base checks the input, sets evaluation mode, seeds the random numbers, splits the images into
chunks that fit the memory, leaves misclassified images alone, averages over a stochastic model's
noise, and counts forward and backward passes. It also gives the verdict: success is decided again
on the images that are returned, and for a stochastic model on more draws than the attack's own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from narrows.attacks import norms
from narrows.attacks.entrance import (
    Victim,
    check_case,
    check_eps,
    check_norm,
    check_reach,
    differs,
    enter,
    refuse_overwriting,
)
from narrows.attacks.query import Query, frozen
from narrows.checks import ArrayLike, check_count, check_labels, check_number
from narrows.errors import ConfigError
from narrows.models.bottleneck import check_draws
from narrows.models.noise import forked_rng
from narrows.types import AttackResult, Norm

__all__ = ["Attack", "FixedEps", "Limits", "MinimalNorm", "merge_results", "moved"]

Limits = Mapping[str, Mapping[str, Any]]
"""Arguments of `check_number` for numeric settings, by the names of the settings."""

_RECHECKED = 8  # attacked images on which a model is tested for noise again, after the attack
_SEEDS = 2**63


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """A search for misclassified images near given ones.

    Args:
        norm: `"linf"`, `"l2"`, `"l1"` or `"l0"`, where the attack takes it: how the size of a
            perturbation is measured.
        draws: how many draws of a stochastic model's noise each gradient is averaged over (EOT).
        verify_draws: fresh draws on which success against a stochastic model is decided.
        common_noise: whether every pass of the attack through a stochastic model uses the same
            noise, so that only the images differ between two passes. Verdicts still use fresh
            noise. The model must take its noise from torch's global generator.
        chunk: images attacked at once; lower it if memory runs out. Random starts depend on it.
        seed: seed of every random number, including the model's own noise.

    Attributes:
        source: authors, year and arXiv id.
        randomness: what the attack draws: `"none"`; `"random starts"`, so that a single restart is
            deterministic; or anything else, such as `"random search"`.
        supported_norms: the norms that the attack can take.
        stackable: whether it treats each row of its query by itself, and draws random numbers only
            by `starts`, so that `attack_many` can attack many models in one pass.
        uses_gradients: whether the model must have a gradient.
        limits: ranges of numeric settings, by their names.
    """

    norm: Norm = "linf"
    draws: int = 1
    verify_draws: int = 100
    common_noise: bool = False
    chunk: int = 512
    seed: int = 0

    source: ClassVar[str]
    randomness: ClassVar[str]
    supported_norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    stackable: ClassVar[bool] = False
    uses_gradients: ClassVar[bool] = True
    limits: ClassVar[Limits] = {"step_size": {"above": 0}}

    @classmethod
    def example(cls) -> Self:
        """A small instance, with which the tests that every attack must pass run in seconds.

        It fools some of the images of a small network and misses others.
        """
        raise NotImplementedError(f"{cls.__name__} does not say how to make a small instance")

    def __post_init__(self) -> None:
        check_norm(self.norm)
        if self.norm not in self.supported_norms:
            raise ConfigError(
                f"{type(self).__name__} takes norm {' or '.join(self.supported_norms)}, got "
                f"{self.norm!r}; PGD takes every norm"
            )
        for field in fields(self):
            written = getattr(field.type, "__name__", str(field.type))
            kinds = {kind.strip() for kind in written.split("|")}
            value = getattr(self, field.name)
            checked = self._checked(field.name, kinds, value)
            if type(checked) is not type(value) and not isinstance(value, int):
                object.__setattr__(self, field.name, checked)  # was one of NumPy's numbers
        if (eps := getattr(self, "eps", None)) is not None:
            check_eps(eps, self.norm)

    def _checked(self, name: str, kinds: set[str], value: object) -> object:
        """A setting after the check that its annotated type, written as `kinds`, asks for."""
        if value is None and "None" in kinds:
            return None
        if kinds <= {"int", "None"}:
            if name in ("draws", "verify_draws"):
                return check_draws(value, name)
            count = check_count(value, name, -_SEEDS if name == "seed" else 1)
            if count >= _SEEDS:
                raise ConfigError(f"{name} must be less than 2**63, got {count}")
            return count
        if kinds <= {"float", "None"}:
            return check_number(value, name, **self.limits.get(name, {}))
        plain = {"bool": (bool, "true or false"), "str": (str, "text")}
        for kind, (wanted, spelt) in plain.items():
            if kinds <= {kind, "None"} and not isinstance(value, wanted):
                raise ConfigError(f"{name} must be {spelt}, got {value!r}")
        return value

    @abstractmethod
    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Attack one chunk of images that do not fool the model yet.

        The base decides whether the result fools the model, so an attack that fails returns its
        best attempt.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images, float32 at least.
            generator: for all random numbers that the attack draws.

        Returns:
            `[b, ...]` in [0, 1].
        """

    def __call__(
        self, model: nn.Module, x: ArrayLike, y: ArrayLike, target: ArrayLike | None = None
    ) -> AttackResult:
        """Attack `model` at images `x` of classes `y`, towards `target` where it is given.

        Args:
            model: returns logits `[n, classes]` or a `ModelOutput`; normalises its own input.
            x: `[n, ...]` floating point images in [0, 1].
            y: `[n]` integer labels.
            target: `[n]` classes to reach; success then means that the target is predicted.

        Raises:
            InputError: for images outside [0, 1] or not finite; labels or targets that do not fit
                the images or the model; a model that cannot be run on the images, overwrites them,
                or whose logits for an image depend on the rest of the batch; logits that are NaN;
                gradients that are NaN or missing.
            ConfigError: for an L2 radius larger than the distance between any two images.
        """
        eps = getattr(self, "eps", None)
        with torch.inference_mode(False), frozen(model), torch.no_grad():
            x, y, target = check_case(x, y, target, model)
            if eps is not None:
                check_reach(eps, self.norm, x)
            with forked_rng(x.device):
                victim = enter(model, x, eps, self.norm)
                check_labels(y, classes=victim.classes)
                result = self._attack(model, victim, x, y, target)
                sample = moved(x, result.x_adv)
                if victim.stochastic or not len(sample):
                    return result
                result = replace(result, forwards=result.forwards + 2 * len(sample))
                if not differs(model, victim.precision.given(sample)):
                    return result
                # The model is noisy on the attacked images, though not on the original ones.
                victim = victim._replace(stochastic=True, forwards=result.forwards)
                again = self._attack(model, victim, x, y, target)
                return replace(again, backwards=result.backwards + again.backwards)

    def _attack(
        self, model: nn.Module, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None
    ) -> AttackResult:
        torch.manual_seed(self.seed)
        generator = torch.Generator(x.device).manual_seed(self.seed)
        # Copies, because a tensor that was made in inference mode cannot have a gradient.
        images = x.to(norms.exact(x.dtype), copy=True)
        labels = (y if target is None else target).clone()
        parts = []
        for rows in torch.arange(len(x), device=x.device).split(min(self.chunk, len(x))):
            query = Query(
                model,
                labels[rows],
                targeted=target is not None,
                stochastic=victim.stochastic,
                draws=self.draws,
                verify_draws=self.verify_draws,
                common_noise=self.seed if self.common_noise else None,
                origin=images[rows],
                precision=victim.precision,
                first=int(rows[0]),
            )
            chunk = images[rows]
            parts.append(self.attack_chunk(query, chunk, generator))
            refuse_overwriting(images[rows], chunk)
        return merge_results(parts, victim)

    def attack_chunk(self, query: Query, x: Tensor, generator: torch.Generator) -> AttackResult:
        """Attack one chunk of images, and judge what comes back.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: for all random numbers that the attack draws.
        """
        everyone = torch.arange(len(x), device=x.device)
        start = query.verdict(x, everyone)
        # A vote of a stochastic model may be luck: it counts only if it is won clearly.
        lost = start.fooled & start.sure
        rows = (~lost).nonzero().squeeze(1)
        x_adv = x.clone()
        if len(rows) and getattr(self, "eps", None) != 0:
            with query.only(rows):
                x_adv[rows] = self.perturb(query, x[rows], generator)
            if query.precision:
                x_adv = query.precision.rounded(x_adv, x).to(x.dtype)
        verdict = query.verdict(x_adv, everyone)
        size = norms.size(x_adv - x, self.norm)
        # The draws of the last vote have selected nothing, so that vote counts. Without noise, an
        # image that did not move keeps its first verdict.
        moved = query.stochastic | (size > 0)
        success = lost | (verdict.fooled & moved)
        distance = size.masked_fill(start.fooled, 0).masked_fill(~success, math.inf)
        return AttackResult(
            x_adv, success, distance, query.forwards, query.backwards, verdict.fooled_rate
        )


@dataclass(frozen=True, kw_only=True)
class FixedEps(Attack):
    """An attack inside the ball of radius `eps`, in units of the [0, 1] image range.

    With L0 `eps` is a number of pixels.
    """

    eps: float

    def clip(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Bring `x_adv` back into the ball around `x` and into [0, 1]."""
        return norms.clip(x_adv, x, self.norm, self.eps)

    def starts(
        self, query: Query, x: Tensor, rows: Tensor, restart: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Starting points: the image itself in restart 0, and a random point of the ball later.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            rows: `[b]`, which images of the chunk they are.
            restart: `[b]`, number of the restart.
            generator: of the random points; not used if all restarts are number 0.
        """
        if not restart.any():
            return x
        noise = [
            norms.random_start(x[part], self.norm, self.eps, source)
            for part, source in query.owners(rows, generator)
        ]
        point = self.clip(x + torch.cat(noise), x)
        return torch.where(norms.per_image(restart > 0, x), point, x)


class MinimalNorm(Attack):
    """An attack that searches for the smallest perturbation that fools the model."""


def moved(x: Tensor, x_adv: Tensor) -> Tensor:
    """A sample of the images that an attack has changed: `[b, ...]`."""
    rows = (x_adv != x).flatten(1).any(1).nonzero().squeeze(1)
    return x_adv[rows[:: max(1, len(rows) // _RECHECKED)][:_RECHECKED]]


def merge_results(parts: Sequence[AttackResult], victim: Victim) -> AttackResult:
    """The results of all chunks of images as one, with the passes of the entrance."""

    def join(read: Callable[[AttackResult], Tensor]) -> Tensor:
        return torch.cat([read(part) for part in parts])

    return AttackResult(
        x_adv=join(lambda part: part.x_adv).to(victim.precision.images),
        success=join(lambda part: part.success),
        distance=join(lambda part: part.distance),
        forwards=sum(part.forwards for part in parts) + victim.forwards,
        backwards=sum(part.backwards for part in parts),
        fooled_rate=join(lambda part: part.fooled_rate),
    )
