"""One attack on many models of one architecture in one vectorised pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from narrows.attacks import norms
from narrows.attacks._base import Attack, merge_results, moved
from narrows.attacks._best import StackBest
from narrows.attacks._precision import Precision
from narrows.attacks.entrance import Victim, check_case, check_reach, enter, refuse_overwriting
from narrows.attacks.query import Query, frozen, named_errors
from narrows.checks import ArrayLike, check_labels
from narrows.errors import InputError
from narrows.models.noise import forked_rng
from narrows.models.stack import ModelStack, models_at_once, stack_models
from narrows.types import AttackResult

__all__ = ["attack_many"]

# Models are run in two groups above so many padded rows, and this share of all rows.
_FREE_PADDING, _WASTE = 256, 0.3
_STACKED_NORMS = ("linf", "l2")  # searches in the others run attacks of their own on the way


def attack_many(
    models: Sequence[nn.Module],
    attack: Attack,
    x: ArrayLike,
    y: ArrayLike,
    target: ArrayLike | None = None,
) -> list[AttackResult]:
    """Attack many models at the same images; each result is what it would have been alone.

    FGSM, PGD, DeepFool and APGD attack models of one architecture in one vectorised pass, so many
    of them at once as make it faster. Each model has random numbers of its own, from the seed of
    the attack, and its images leave when they are fooled. Other attacks, stochastic models and
    models that `torch.func.vmap` cannot run are attacked one after another.

    In a stack the products of matrices are rounded differently, so that an image at the very
    boundary of a class may end differently. What the entrance of an attack tests, whether a model
    is stochastic and treats its images one by one, is tested on the first model of a stack.

    Args:
        models: return logits `[n, classes]` or a `ModelOutput`; normalise their own input.
        attack: for all of them.
        x: `[n, ...]` floating point images in [0, 1].
        y: `[n]` integer labels.
        target: `[n]` classes to reach.

    Returns:
        One result for each model.

    Raises:
        InputError, ConfigError: as the call of an attack; `InputError` also for no models.

    Example:
        >>> from narrows.attacks import FGSM
        >>> models = [nn.Linear(2, 2) for _ in range(3)]
        >>> results = attack_many(models, FGSM(eps=0.1), torch.rand(5, 2), torch.zeros(5).long())
        >>> len(results)
        3
    """
    models = list(models)
    if not models:
        raise InputError("expected a model at least, got none")
    first = models[0]
    stackable = attack.stackable and attack.norm in _STACKED_NORMS
    if not stackable or len(models) == 1 or not isinstance(first, nn.Module):
        return [attack(model, x, y, target) for model in models]
    with torch.inference_mode(False), torch.no_grad():
        images, labels, targets = check_case(x, y, target, first)
        at_once = models_at_once(first, images[: attack.chunk])
        results: list[AttackResult] = []
        for start in range(0, len(models), at_once):
            part = models[start : start + at_once]
            attacked = _attack_stack(part, attack, images, labels, targets)
            if attacked is None:
                attacked = [attack(model, images, labels, targets) for model in part]
            results += attacked
    return results


def _attack_stack(
    models: Sequence[nn.Module], attack: Attack, x: Tensor, y: Tensor, target: Tensor | None
) -> list[AttackResult] | None:
    """The results of a stack, or `None` where the models must be attacked one by one."""
    eps = getattr(attack, "eps", None)
    if eps is not None:
        check_reach(eps, attack.norm, x)
    if len(models) == 1 or (stack := stack_models(models, x)) is None:
        return None
    with frozen(models[0]), forked_rng(x.device):
        victim = enter(models[0], x, eps, attack.norm)
        check_labels(y, classes=victim.classes)
    if victim.stochastic:
        return None
    images = x.to(norms.exact(x.dtype), copy=True)
    labels = (y if target is None else target).clone()
    generators = [torch.Generator(x.device).manual_seed(attack.seed) for _ in models]
    parts = []
    for rows in torch.arange(len(x), device=x.device).split(attack.chunk):
        chunk = images[rows]
        query = StackQuery(
            models[0],
            stack,
            generators,
            labels[rows],
            chunk,
            targeted=target is not None,
            precision=victim.precision,
            first=int(rows[0]),
        )
        parts.append(_split(attack, query, chunk))
        refuse_overwriting(images[rows], chunk)
    results = [_joined(member, victim, images) for member in zip(*parts, strict=True)]
    return results if _repeatable(stack, results, x, victim) else None


class StackQuery(Query):
    """The chunk of every model of a stack as one chunk: the images of one model after another.

    Args:
        model: one of the models.
        stack: all of them.
        generators: one for each model, of the random numbers of its attack.
        labels: `[n]` of the images of each model.
        images: `[n, ...]`.
        targeted: as in `Query`, likewise `precision` and `first`.
        precision: as in `Query`.
        first: as in `Query`.

    Attributes:
        forwards_of: images of each model that were sent forward, likewise `backwards_of`.
    """

    def __init__(
        self,
        model: nn.Module,
        stack: ModelStack,
        generators: Sequence[torch.Generator],
        labels: Tensor,
        images: Tensor,
        *,
        targeted: bool,
        precision: Precision,
        first: int,
    ) -> None:
        count = len(stack)
        super().__init__(
            model,
            labels.repeat(count),
            targeted=targeted,
            origin=images.repeat(count, *(1,) * (images.dim() - 1)),
            precision=precision,
            first=first,
        )
        self._stack, self._generators = stack, generators
        self._numbers = self._numbers[: len(labels)].repeat(count)
        self._owner = torch.arange(count, device=labels.device).repeat_interleave(len(labels))
        self.forwards_of = torch.zeros(count, dtype=torch.long)
        self.backwards_of = torch.zeros(count, dtype=torch.long)
        self._last = self.forwards_of

    @contextmanager
    def only(self, rows: Tensor) -> Iterator[None]:
        """Restrict the chunk to `rows: [b]` inside a `with` block; rows then count from 0."""
        before = self._owner
        self._owner = self._owner[rows]
        try:
            with super().only(rows):
                yield
        finally:
            self._owner = before

    def best(self, x: Tensor) -> StackBest:
        """An empty record of the best attempts, with a plan for each model."""
        return StackBest(x, self._owner)

    def owners(
        self, rows: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[slice, torch.Generator]]:
        """The images of each model, with the generator that the model would have alone."""
        counts = torch.bincount(self._owner[rows], minlength=len(self._stack)).tolist()
        start = 0
        for count, source in zip(counts, self._generators, strict=True):
            if count:
                yield slice(start, start + count), source
            start += count

    def gradient(
        self, value: Tensor, x: Tensor, *, retain: bool, logits: Tensor | None = None
    ) -> Tensor:
        """The gradient at each image, counted for its model; see `Query.gradient`."""
        self.backwards_of = self.backwards_of + self._last
        return super().gradient(value, x, retain=retain, logits=logits)

    def _drawn(self, seen: Tensor, count: int, rows: Tensor | None) -> Tensor:
        if rows is None:
            raise InputError("an attack on a stack of models names the rows of its images")
        counts = torch.bincount(self._owner[rows], minlength=len(self._stack)).cpu()
        self._last = counts
        self.forwards_of = self.forwards_of + counts
        with named_errors(seen):
            parts = [
                self._run(seen[start:stop], members, counts[members])
                for start, stop, members in _groups(counts)
            ]
        return torch.cat(parts)[None]

    def _run(self, seen: Tensor, members: list[int], counts: Tensor) -> Tensor:
        """Logits `[b, C]` of the images of neighbouring models, in the order of the models."""
        present = [member for member, count in zip(members, counts.tolist(), strict=True) if count]
        counts = counts[counts > 0]
        most = int(counts.max())
        if len(seen) == len(present) * most:
            stacked = self._stack.logits(seen.unflatten(0, (len(present), most)), present)
            return stacked.flatten(0, 1)
        place = torch.arange(len(present) * most).view(len(present), most)
        place = place[torch.arange(most) < counts[:, None]].to(seen.device)
        padded = seen.new_zeros(len(present) * most, *seen.shape[1:])
        padded = padded.index_copy(0, place, seen).unflatten(0, (len(present), most))
        return self._stack.logits(padded, present).flatten(0, 1)[place]


def _groups(counts: Tensor) -> Iterator[tuple[int, int, list[int]]]:
    """Neighbouring models that are run together: their first row, last row, and numbers.

    Models with fewer images are padded to as many as the others of their group have.
    """
    start = total = most = 0
    group: list[int] = []
    for member, count in enumerate(counts.tolist()):
        if not count:
            continue
        widest = max(most, count)
        padding = widest * (len(group) + 1) - total - count
        if group and padding > max(_FREE_PADDING, _WASTE * (total + count)):
            yield start, start + total, group
            start, total, widest, group = start + total, 0, count, []
        group.append(member)
        total, most = total + count, widest
    if group:
        yield start, start + total, group


def _split(attack: Attack, query: StackQuery, chunk: Tensor) -> list[AttackResult]:
    """Attack one chunk of images of every model, and give each model its result."""
    count = len(query.forwards_of)
    whole = attack.attack_chunk(
        query, chunk.repeat(count, *(1,) * (chunk.dim() - 1)), torch.Generator(chunk.device)
    )
    rows = torch.arange(len(whole.success), device=chunk.device).view(count, -1)
    return [
        AttackResult(
            whole.x_adv[part],
            whole.success[part],
            whole.distance[part],
            int(query.forwards_of[member]),
            int(query.backwards_of[member]),
            whole.fooled_rate[part],
        )
        for member, part in enumerate(rows)
    ]


def _joined(parts: Sequence[AttackResult], victim: Victim, images: Tensor) -> AttackResult:
    result = merge_results(parts, victim)
    sample = len(moved(images, result.x_adv))
    return replace(result, forwards=result.forwards + 2 * sample)


def _repeatable(
    stack: ModelStack, results: Sequence[AttackResult], x: Tensor, victim: Victim
) -> bool:
    """Whether two passes over attacked images agree, as a deterministic model's do."""
    few = torch.stack([victim.precision.given(result.x_adv[:8]) for result in results])
    with forked_rng(x.device):
        first, again = (stack.logits(few).nan_to_num() for _ in range(2))
    return torch.equal(first, again)
