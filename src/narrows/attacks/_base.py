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
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from narrows.attacks import norms
from narrows.attacks._query import Query, frozen
from narrows.errors import ConfigError, InputError, NarrowsError
from narrows.models.outputs import logits_of
from narrows.types import AttackResult, Norm

__all__ = ["Attack", "Best", "FixedEps", "MinimalNorm"]

_PROBE = 8  # images on which a model is tested for noise


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
    """

    norm: Norm = "linf"
    draws: int = 1
    verify_draws: int = 100
    common_noise: bool = False
    chunk: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise ConfigError(f"norm must be 'linf' or 'l2', got {self.norm!r}")
        self._require_positive("draws", "verify_draws", "chunk")

    def _require_positive(self, *names: str) -> None:
        for name in names:
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
            InputError: for images outside [0, 1] or not finite, labels or targets that don't fit
                the images or the model, or a model that cannot be run on them, or whose logits or
                gradients are NaN or not there.
            ConfigError: for an L2 radius that reaches beyond every image.
        """
        labels = check_images(x, y, target)
        if (eps := getattr(self, "eps", None)) is not None:
            check_reach(eps, self.norm, x)
        devices = [x.device] if x.device.type == "cuda" else []
        # Copies, because a tensor made in inference mode can have no gradient.
        with torch.inference_mode(False), torch.random.fork_rng(devices), frozen(model):
            x, labels = x.detach().clone(), labels.clone()
            torch.manual_seed(self.seed)
            generator = torch.Generator(x.device).manual_seed(self.seed)
            with torch.no_grad():
                stochastic = is_stochastic(model, x)
                parts = []
                for rows in torch.arange(len(x), device=x.device).split(self.chunk):
                    query = Query(
                        model,
                        labels[rows],
                        targeted=target is not None,
                        stochastic=stochastic,
                        draws=self.draws,
                        verify_draws=self.verify_draws,
                        common_noise=self.seed if self.common_noise else None,
                    )
                    parts.append(self._attack_chunk(query, x[rows], generator))
        return _merge(parts)

    def _attack_chunk(self, query: Query, x: Tensor, generator: torch.Generator) -> AttackResult:
        everyone = torch.arange(len(x), device=x.device)
        start = query.verdict(x, everyone)
        rows = everyone[~start.fooled]
        x_adv = x.clone()
        if len(rows):
            labels, query.labels = query.labels, query.labels[rows]
            x_adv[rows] = self.perturb(query, x[rows], generator)
            query.labels = labels
        verdict = query.verdict(x_adv, everyone)
        size = norms.size(x_adv - x, self.norm)
        # An image that was wrong before the attack stays counted as such on any later draw, and one
        # that was right and comes back as it was is no success, whatever a later draw says.
        success = start.fooled | (verdict.fooled & (size > 0))
        distance = size.masked_fill(~success, math.inf)
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


def check_eps(eps: float, norm: Norm) -> None:
    """Refuse a radius that images in [0, 1] cannot have.

    Raises:
        ConfigError: saying which they can.
    """
    limit = 1 if norm == "linf" else math.inf
    if not (0 <= eps <= limit and math.isfinite(eps)):
        allowed = "lie in [0, 1]" if norm == "linf" else "be finite and not negative"
        raise ConfigError(
            f"eps must {allowed} for images in [0, 1], got {eps}; "
            "divide by 255 if it was meant for 0-255 images"
        )


def check_reach(eps: float, norm: Norm, x: Tensor) -> None:
    """Refuse an L2 radius that reaches beyond every image of the form of `x: [n, ...]`.

    Raises:
        ConfigError: saying how far apart two images can lie.
    """
    farthest = math.sqrt(x[0].numel())
    if norm == "l2" and eps > farthest * (1 + 1e-6):
        raise ConfigError(
            f"eps must be at most {farthest:.4g} in L2, the farthest that two images of "
            f"{x[0].numel()} values in [0, 1] can lie apart, got {eps:g}; divide by 255 if it was "
            "meant for 0-255 images"
        )


def check_images(x: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """Refuse images or labels that no attack could mean anything on.

    Returns:
        `[n]` int64 on the device of the images: the targets if there are any, else the labels.

    Raises:
        InputError: naming what was expected and what arrived.
    """
    for kind, given in (("images", x), ("labels", y), ("targets", target)):
        if not isinstance(given, Tensor) and given is not None:
            raise InputError(
                f"{kind} must be a torch.Tensor, got {type(given).__name__}: torch.as_tensor makes "
                "one"
            )
    if not x.is_floating_point() or x.dim() < 2:
        raise InputError(
            f"images must be floating point [n, ...] in [0, 1], got {x.dtype} {tuple(x.shape)}"
        )
    if not len(x):
        raise InputError("no images to attack: x is empty")
    for kind, labels in (("labels", y), ("targets", target)):
        if labels is not None:
            _check_labels(kind, labels, len(x))
    if target is not None and (same := int((y.to(target.device) == target).sum())):
        raise InputError(f"a target must differ from the label, {same} of {len(x)} don't")
    low, high = x.aminmax()
    if not (low >= 0 and high <= 1):  # NaN fails the comparison too
        raise InputError(
            f"images must lie in [0, 1], got values from {low.item():.4g} to {high.item():.4g}; "
            "divide 0-255 images by 255, and make any normalisation part of the model"
        )
    return (y if target is None else target).to(x.device, torch.int64)


def _check_labels(kind: str, labels: Tensor, count: int) -> None:
    integer = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.shape != (count,) or not integer:
        raise InputError(
            f"{kind} must be integers of shape [{count}], got {labels.dtype} {list(labels.shape)}"
        )


def is_stochastic(model: nn.Module, x: Tensor) -> bool:
    """Whether two passes over the same few images give different logits.

    Raises:
        InputError: if the model cannot be run on them.
    """
    few = x[:_PROBE]
    return not torch.equal(first_look(model, few), logits_of(model, few))


def first_look(model: nn.Module, x: Tensor) -> Tensor:
    """Logits `[b, classes]`; whatever the model cannot do with such images is named.

    Raises:
        InputError: for a model on another device, of another dtype or of other shapes.
    """
    try:
        return logits_of(model, x)
    except NarrowsError:
        raise
    except Exception as error:  # whatever a stranger's model raises
        raise InputError(
            f"the model cannot be run on images {list(x.shape)} of {x.dtype} on {x.device} "
            f"({type(error).__name__}: {error}); bring both to one device, dtype and shape, or "
            "mend the model"
        ) from error


def _merge(parts: list[AttackResult]) -> AttackResult:
    def join(read: Callable[[AttackResult], Tensor]) -> Tensor:
        return torch.cat([read(part) for part in parts])

    x_adv = join(lambda part: part.x_adv)
    probed = 2 * min(_PROBE, len(x_adv))
    return AttackResult(
        x_adv=x_adv,
        success=join(lambda part: part.success),
        distance=join(lambda part: part.distance),
        forwards=sum(part.forwards for part in parts) + probed,
        backwards=sum(part.backwards for part in parts),
        fooled_rate=join(lambda part: part.fooled_rate),
    )
