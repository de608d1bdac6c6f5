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
from narrows.attacks.entrance import (
    Victim,
    check_case,
    check_reach,
    enter,
    probes,
    refuse_overwriting,
)
from narrows.attacks.query import Query, frozen, named_errors
from narrows.checks import ArrayLike, check_labels
from narrows.errors import InputError
from narrows.models.noise import forked_rng
from narrows.models.stack import ModelStack, models_at_once, stack_models
from narrows.types import AttackResult

__all__ = ["attack_each", "attack_many"]

_Case = tuple[Tensor, Tensor, Tensor | None]

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
    return attack_each(models, attack, [(x, y, target)] * len(models))


def attack_each(
    models: Sequence[nn.Module],
    attack: Attack,
    cases: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike | None]],
) -> list[AttackResult]:
    """`attack_many` with images of its own for each model.

    Args:
        models: as in `attack_many`.
        attack: for all of them.
        cases: images, labels, and targets or `None`, of each model.

    Returns:
        One result for each model.

    Raises:
        InputError, ConfigError: as `attack_many`; `InputError` also for another number of cases.
    """
    models = list(models)
    if not models or len(models) != len(cases):
        raise InputError(
            f"expected images for each of at least one model, got {len(models)} models and "
            f"{len(cases)} cases"
        )
    pairs = list(zip(models, cases, strict=True))
    stackable = attack.stackable and attack.norm in _STACKED_NORMS
    if not stackable or len(models) == 1 or not isinstance(models[0], nn.Module):
        return [attack(model, *case) for model, case in pairs]
    with torch.inference_mode(False), torch.no_grad():
        checked = _checked(models[0], cases)
        longest = max((case[0] for case in checked), key=len)
        at_once = models_at_once(models[0], longest[: attack.chunk])
        results: list[AttackResult] = []
        for start in range(0, len(models), at_once):
            part = slice(start, start + at_once)
            attacked = _attack_stack(models[part], attack, checked[part])
            results += attacked or [attack(model, *case) for model, case in pairs[part]]
    return results


def _checked(
    first: nn.Module, cases: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike | None]]
) -> list[_Case]:
    """The cases as tensors; those that are the same for several models are checked once."""
    known: dict[tuple[int, int, int], _Case] = {}
    for x, y, target in cases:
        key = (id(x), id(y), id(target))
        if key not in known:
            known[key] = check_case(x, y, target, first)
    return [known[id(x), id(y), id(target)] for x, y, target in cases]


def _attack_stack(
    models: Sequence[nn.Module], attack: Attack, cases: Sequence[_Case]
) -> list[AttackResult] | None:
    """The results of a stack, or `None` where the models must be attacked one by one."""
    eps = getattr(attack, "eps", None)
    first = cases[0][0]
    alike = all(x.shape[1:] == first.shape[1:] and x.dtype == first.dtype for x, _, _ in cases)
    if len(models) == 1 or not alike or len({target is None for _, _, target in cases}) > 1:
        return None
    if eps is not None:
        check_reach(eps, attack.norm, first)
    if (stack := stack_models(models, first)) is None:
        return None
    with frozen(models[0]), forked_rng(first.device):
        victim = enter(models[0], first, eps, attack.norm)
    for _, y, _ in cases:
        check_labels(y, classes=victim.classes)
    if victim.stochastic:
        return None
    images = [x.to(norms.exact(x.dtype), copy=True) for x, _, _ in cases]
    labels = [(y if target is None else target).clone() for _, y, target in cases]
    generators = [torch.Generator(first.device).manual_seed(attack.seed) for _ in models]
    parts: list[list[AttackResult]] = [[] for _ in models]
    for start in range(0, max(map(len, images)), attack.chunk):
        rows = slice(start, start + attack.chunk)
        chunks = [x[rows] for x in images]
        query = StackQuery(
            models[0],
            stack,
            generators,
            [part[rows] for part in labels],
            chunks,
            targeted=cases[0][2] is not None,
            precision=victim.precision,
            first=start,
        )
        for member, part in _split(attack, query, chunks):
            parts[member].append(part)
        for x, chunk in zip(images, chunks, strict=True):
            refuse_overwriting(x[rows], chunk)
    results = [_joined(part, victim, len(first), x) for part, x in zip(parts, images, strict=True)]
    return results if _repeatable(stack, results, victim) else None


class StackQuery(Query):
    """The chunk of every model of a stack as one chunk: the images of one model after another.

    Args:
        model: one of the models.
        stack: all of them.
        generators: one for each model, of the random numbers of its attack.
        labels: of the images of each model, `[n]` each.
        images: of each model, `[n, ...]` each.
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
        labels: Sequence[Tensor],
        images: Sequence[Tensor],
        *,
        targeted: bool,
        precision: Precision,
        first: int,
    ) -> None:
        super().__init__(
            model,
            torch.cat(list(labels)),
            targeted=targeted,
            origin=torch.cat(list(images)),
            precision=precision,
            first=first,
        )
        self._stack, self._generators = stack, generators
        counts = torch.tensor([len(part) for part in labels])
        device = self.labels.device
        self._numbers = torch.cat([first + torch.arange(len(part)) for part in labels]).to(device)
        self._owner = torch.arange(len(stack)).repeat_interleave(counts).to(device)
        self.forwards_of = torch.zeros(len(stack), dtype=torch.long)
        self.backwards_of = torch.zeros(len(stack), dtype=torch.long)
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
        """The gradient at each image, counted for its model; see `Query.gradient`.

        Args:
            value: `[b]`, or a scalar that belongs to all images.
            x: `[b, ...]`, the images that `value` was computed from.
            retain: whether the graph is needed for another gradient.
            logits: `[b, C]`; where they give a class probability 0, a gradient of NaN becomes 0.
        """
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
        width = int(counts.max())
        if len(seen) == len(present) * width:
            stacked = self._stack.logits(seen.unflatten(0, (len(present), width)), present)
            return stacked.flatten(0, 1)
        place = torch.arange(len(present) * width).view(len(present), width)
        place = place[torch.arange(width) < counts[:, None]].to(seen.device)
        padded = seen.new_zeros(len(present) * width, *seen.shape[1:])
        padded = padded.index_copy(0, place, seen).unflatten(0, (len(present), width))
        return self._stack.logits(padded, present).flatten(0, 1)[place]


def _groups(counts: Tensor) -> Iterator[tuple[int, int, list[int]]]:
    """Neighbouring models that are run together: their first row, last row, and numbers.

    Models with fewer images are padded to as many as the others of their group have.
    """
    start = total = width = 0
    group: list[int] = []
    for member, count in enumerate(counts.tolist()):
        if not count:
            continue
        widest = max(width, count)
        padding = widest * (len(group) + 1) - total - count
        if group and padding > max(_FREE_PADDING, _WASTE * (total + count)):
            yield start, start + total, group
            start, total, widest, group = start + total, 0, count, []
        group.append(member)
        total, width = total + count, widest
    if group:
        yield start, start + total, group


def _split(
    attack: Attack, query: StackQuery, chunks: Sequence[Tensor]
) -> Iterator[tuple[int, AttackResult]]:
    """Attack one chunk of images of every model, and give each model that has any its result."""
    whole = attack.attack_chunk(
        query, torch.cat(list(chunks)), torch.Generator(query.labels.device)
    )
    stop = 0
    for member, chunk in enumerate(chunks):
        part = slice(stop, stop := stop + len(chunk))
        if len(chunk):
            yield (
                member,
                AttackResult(
                    whole.x_adv[part],
                    whole.success[part],
                    whole.distance[part],
                    int(query.forwards_of[member]),
                    int(query.backwards_of[member]),
                    whole.fooled_rate[part],
                ),
            )


def _joined(
    parts: Sequence[AttackResult], victim: Victim, first: int, images: Tensor
) -> AttackResult:
    """The result of one model, with as many passes of the entrance as it would take alone.

    Args:
        parts: of each of its chunks.
        victim: what the entrance of the first model found.
        first: number of images of the first model.
        images: of this model.
    """
    probed, of_first = len(probes(images)), len(probes(images.new_zeros(first, 1)))
    entrance = (victim.forwards - 1) // of_first * probed + 1
    result = merge_results(parts, victim._replace(forwards=entrance))
    return replace(result, forwards=result.forwards + 2 * len(moved(images, result.x_adv)))


def _repeatable(stack: ModelStack, results: Sequence[AttackResult], victim: Victim) -> bool:
    """Whether two passes over attacked images agree, as a deterministic model's do."""
    firsts = torch.stack([victim.precision.given(result.x_adv[:1]) for result in results])
    with forked_rng(firsts.device):
        first, again = (stack.logits(firsts).nan_to_num() for _ in range(2))
    return torch.equal(first, again)
