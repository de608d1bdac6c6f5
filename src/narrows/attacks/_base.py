"""What every attack shares, so that an attack's own file holds only its own step.

The base owns the checks of the input, evaluation mode, the random numbers, chunks that fit the
memory, dropping images that are misclassified anyway, expectation over a stochastic model's noise,
the count of forward and backward passes, and the verdict: success is decided again on the images
that are returned, and for a stochastic model on a fresh and larger set of draws than the attack's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from narrows.attacks import norms
from narrows.attacks.entrance import (
    Victim,
    check_case,
    check_eps,
    check_reach,
    differs,
    enter,
    refuse_overwriting,
)
from narrows.attacks.query import Query, frozen
from narrows.checks import ArrayLike, check_count, check_labels, check_number
from narrows.errors import ConfigError
from narrows.types import AttackResult, Norm

__all__ = ["Attack", "Best", "FixedEps", "Limits", "MinimalNorm"]

Limits = Mapping[str, Mapping[str, Any]]
"""What `check_number` is told of settings that are numbers, by their names."""

_RECHECKED = 8  # attacked images on which a model without noise is looked at once more
_SEEDS = 2**63


class Best:
    """The best attempt so far at each image of a chunk.

    Attributes:
        x: `[n, ...]`, the attempts; the images themselves before any was offered.
        value: `[n]`, what the attack raises, at `x`; inf where `x` fools the model.
        fooled: `[n]` bool.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x.clone()
        self.value = x.new_full((len(x),), -math.inf)
        self.fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def offer(self, rows: Tensor, x: Tensor, value: Tensor, fooled: Tensor) -> None:
        """Take attempts where they are better; one that fools beats any that doesn't.

        Args:
            rows: `[b]`, the image that each attempt is at; an image may occur several times.
            x: `[b, ...]`, the attempts.
            value: `[b]`.
            fooled: `[b]` bool.
        """
        value = value.to(self.value.dtype).masked_fill(fooled, math.inf)
        peak = self.value.scatter_reduce(0, rows, value, "amax")
        better = (value > self.value[rows]) & (value == peak[rows])
        places = better.nonzero().squeeze(1)
        # Among equals the first one wins: writing two to one image could mix them.
        first = rows.new_full((len(self.x),), len(rows))
        first = first.scatter_reduce(0, rows[places], places, "amin")
        places = places[first[rows[places]] == places]
        self.x[rows[places]] = x[places]
        self.value = peak
        self.fooled[rows[fooled]] = True

    def attempts(self, count: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Plan `count` attempts at each image, for as long as it is not fooled.

        As many as fit a chunk go side by side: few images are left to the later ones, and small
        batches waste threads and accelerators.

        Yields:
            `rows: [b]` and `[b]`, the number of the attempt at each; the first alone.
        """
        rows = torch.arange(len(self.x), device=self.x.device)
        done = 0
        while done < count and len(rows := rows[~self.fooled[rows]]):
            copies = min(count - done, max(1, chunk // len(rows))) if done else 1
            numbers = torch.arange(done, done + copies, device=rows.device)
            yield rows.repeat(copies), numbers.repeat_interleave(len(rows))
            done += copies


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """A search for misclassified images near given ones.

    Args:
        norm: `"linf"` or `"l2"`: how the size of a perturbation is measured.
        draws: how many draws of a stochastic model's noise each gradient is averaged over (EOT).
        verify_draws: fresh draws on which success against a stochastic model is decided.
        common_noise: whether all of an attack's own looks at a stochastic model meet the same
            noise, so that only the image differs between them; verdicts are on fresh noise still.
            Only noise from torch's global generator can be held so.
        chunk: images attacked at once; lower it if memory runs out. Random starts depend on it.
        seed: seed of every random number, including the model's own noise.

    Attributes:
        source: authors, year and arXiv id.
        randomness: what the attack draws: `"none"`; `"random starts"`, so that a single restart is
            deterministic; or anything else, such as `"random search"`.
        supported_norms: the norms that the attack can take.
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
    uses_gradients: ClassVar[bool] = True
    limits: ClassVar[Limits] = {"step_size": {"above": 0}}

    @classmethod
    def example(cls) -> Self:
        """A small instance, with which the tests that every attack must pass run in seconds.

        It fools some of the images of a small network and misses others.
        """
        raise NotImplementedError(f"{cls.__name__} does not say how to make a small instance")

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise ConfigError(f"norm must be 'linf' or 'l2', got {self.norm!r}")
        if self.norm not in self.supported_norms:
            raise ConfigError(
                f"{type(self).__name__} is an {self.supported_norms[0].title()} attack, got norm "
                f"{self.norm!r}; PGD, FAB and DeepFool take both norms"
            )
        for field in fields(self):
            written = getattr(field.type, "__name__", str(field.type))
            kinds = {kind.strip() for kind in written.split("|")}
            value = getattr(self, field.name)
            checked = self._checked(field.name, kinds, value)
            if type(checked) is not type(value) and not isinstance(value, int):
                object.__setattr__(self, field.name, checked)  # a number of NumPy's

    def _checked(self, name: str, kinds: set[str], value: object) -> object:
        """A setting whose type is written as `kinds`: numbers and texts are checked."""
        if value is None and "None" in kinds:
            return None
        if kinds <= {"int", "None"}:
            count = check_count(value, name, -_SEEDS if name == "seed" else 1)
            if count >= _SEEDS:
                raise ConfigError(f"{name} must be less than 2**63, got {count}")
            return count
        if kinds <= {"float", "None"}:
            return check_number(value, name, **self.limits.get(name, {}))
        plain = {"bool": bool, "str": str}
        for kind, wanted in plain.items():
            if kinds <= {kind, "None"} and not isinstance(value, wanted):
                raise ConfigError(f"{name} must be a {kind}, got {value!r}")
        return value

    @abstractmethod
    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Attack one chunk `x: [b, ...]` of images that are not fooled yet.

        The images are float32 at least. The result has the same shape and lies in [0, 1]. Whether
        it fools the model is decided by the base, so an attack that has lost may return its best
        attempt.
        """

    def __call__(
        self, model: nn.Module, x: ArrayLike, y: ArrayLike, target: ArrayLike | None = None
    ) -> AttackResult:
        """Attack `model` at images `x` of classes `y`; towards `target: [n]` where it is given.

        Args:
            model: returns logits `[n, classes]` or a `ModelOutput`; normalises its own input.
            x: `[n, ...]` floating point images in [0, 1].
            y: `[n]` integer labels.
            target: `[n]` classes the images shall be taken for; success means just that.

        Raises:
            InputError: for images outside [0, 1] or not finite, labels or targets that don't fit
                the images or the model, a model that cannot be run on them, overwrites them or
                answers with a look at the rest of the batch, or whose logits or gradients are NaN
                or not there.
            ConfigError: for an L2 radius that reaches beyond every image.
        """
        eps = getattr(self, "eps", None)
        with torch.inference_mode(False), frozen(model), torch.no_grad():
            x, y, target = check_case(x, y, target, model)
            if eps is not None:
                check_reach(eps, self.norm, x)
            with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
                victim = enter(model, x, eps, self.norm)
                check_labels(y, classes=victim.classes)
                result = self._attack(model, victim, x, y, target)
                sample = _moved(x, result.x_adv)
                if victim.stochastic or not len(sample):
                    return result
                result = replace(result, forwards=result.forwards + 2 * len(sample))
                if not differs(model, victim.precision.given(sample)):
                    return result
                # There is noise where the attack has led, though none at the images or beside them.
                victim = victim._replace(stochastic=True, forwards=result.forwards)
                again = self._attack(model, victim, x, y, target)
                return replace(again, backwards=result.backwards + again.backwards)

    def _attack(
        self, model: nn.Module, victim: Victim, x: Tensor, y: Tensor, target: Tensor | None
    ) -> AttackResult:
        torch.manual_seed(self.seed)
        generator = torch.Generator(x.device).manual_seed(self.seed)
        # Copies, because a tensor made in inference mode can have no gradient.
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
            parts.append(self._attack_chunk(query, chunk, generator))
            refuse_overwriting(images[rows], chunk)
        return _merge(parts, victim)

    def _attack_chunk(self, query: Query, x: Tensor, generator: torch.Generator) -> AttackResult:
        everyone = torch.arange(len(x), device=x.device)
        start = query.verdict(x, everyone)
        # One vote of a stochastic model may be luck: an image is lost where it is more than that.
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
        # The draws of the last vote have picked nothing. Without noise an image that comes back as
        # it was is what it was.
        moved = query.stochastic | (size > 0)
        success = lost | (verdict.fooled & moved)
        distance = size.masked_fill(start.fooled, 0).masked_fill(~success, math.inf)
        return AttackResult(
            x_adv, success, distance, query.forwards, query.backwards, verdict.fooled_rate
        )


@dataclass(frozen=True, kw_only=True)
class FixedEps(Attack):
    """An attack inside the ball of radius `eps`, in units of the [0, 1] image range."""

    eps: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_eps(self.eps, self.norm)

    def clip(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Bring `x_adv` back into the ball around `x` and into [0, 1]."""
        return (x + norms.project(x_adv - x, self.norm, self.eps)).clamp_(0, 1)

    def starts(self, x: Tensor, restart: Tensor, generator: torch.Generator) -> Tensor:
        """Where attempts at `x: [b, ...]` begin: at the image in restart 0, else anywhere near.

        Args:
            x: the images.
            restart: `[b]`, number of the restart.
            generator: of the random points of the ball; not asked in restart 0 alone.
        """
        if not restart.any():
            return x
        point = self.clip(x + norms.random_start(x, self.norm, self.eps, generator), x)
        return torch.where(norms.per_image(restart > 0, x), point, x)


class MinimalNorm(Attack):
    """An attack that looks for the smallest perturbation that fools the model."""


def _moved(x: Tensor, x_adv: Tensor) -> Tensor:
    """A few of the images that an attack has changed: `[b, ...]`."""
    rows = (x_adv != x).flatten(1).any(1).nonzero().squeeze(1)
    return x_adv[rows[:: max(1, len(rows) // _RECHECKED)][:_RECHECKED]]


def _merge(parts: list[AttackResult], victim: Victim) -> AttackResult:
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
