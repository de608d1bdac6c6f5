"""What attacks by random search share: the loop, several candidates at once, an early end."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from narrows.attacks._base import FixedEps
from narrows.attacks.losses import margin
from narrows.attacks.query import Query

__all__ = ["RandomSearch"]

_SIDE_BY_SIDE = 4  # candidates of an image that are tried at once
_ALONE = 500  # queries before that: the first candidates improve the loss too often
_NOTED_EVERY = 25  # queries, after which margins are remembered
_JUDGED_FROM, _JUDGED_EVERY = 500, 100  # queries at which a search may end
_SPARE, _DOUBLING = 0.5, 1.5  # rises that are expected of the rest, and of each doubling in it
_STEADY = 2  # by which a rise may exceed the one before it


@dataclass(frozen=True, kw_only=True)
class RandomSearch(FixedEps):
    """Random changes of the images, of which those are kept that raise the margin.

        candidate = propose(best)
        best <- candidate          if L(candidate) > L(best),   L = max_{i != y} z_i - z_y

    A search has a state, a tuple of tensors `[b, ...]` of which the first holds the images. Once
    500 queries were made, few candidates are better: then four are tried side by side if they fit
    a chunk, and the best is kept. This keeps batches large as images leave.

    With `patient=False` a search ends where it seems hopeless after 500 queries or more: if the
    margin rises steadily, and success needs more than .5 + 1.5 log2(queries / made) times the rise
    r in the second half of the queries made. The rise is steady if 0 < r <= 2 r', where r' is that
    in the quarter before. So flat, clipped and rounded margins are searched to the end.

    Against a stochastic model no image leaves before the end, and each query evaluates the best
    image again too, so that one lucky draw cannot stop the progress.

    Args:
        queries: forward passes for each image.
        patient: whether each search takes all its queries unless it succeeds.
    """

    randomness: ClassVar[str] = "random search"
    uses_gradients: ClassVar[bool] = False

    queries: int = 5000
    patient: bool = True

    @abstractmethod
    def pixels(self, x: Tensor) -> int:
        """The number of pixels of images `x: [b, ...]`; the rest of their values are channels."""

    @abstractmethod
    def begin(self, x: Tensor, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The state in which the search begins.

        Args:
            x: `[b, channels, pixels]`, the images.
            shape: of the batch, `[b, ...]`.
            generator: of all random numbers.
        """

    @abstractmethod
    def propose(
        self,
        state: tuple[Tensor, ...],
        x: Tensor,
        shape: torch.Size,
        progress: float,
        generator: torch.Generator,
    ) -> tuple[Tensor, ...]:
        """A candidate in the place of each state.

        Args:
            state: tensors `[tries, b, ...]`.
            x: `[tries, b, channels, pixels]`, the images.
            shape: of the batch, `[b, ...]`.
            progress: share of all queries that were made, in [0, 1].
            generator: of all random numbers.
        """

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Try random changes; an image leaves once it is fooled.

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: of the random changes.
        """
        result, shape = x.clone(), x.shape
        rows = torch.arange(len(x), device=x.device)
        origin = x.reshape(len(x), -1, self.pixels(x))
        state = self.begin(origin, shape, generator)
        value = self._look(query, state[0], shape, rows)
        past, queried = _Past(value, self.queries), 1
        while queried < self.queries:
            ends = value > 0
            if not self.patient:
                ends = ends | past.hopeless(value, queried)
            if not query.stochastic and ends.any():
                result[rows[ends]] = state[0][ends].view(-1, *shape[1:])
                left = (~ends).nonzero().squeeze(1)
                rows, origin, value = (part[left] for part in (rows, origin, value))
                state = tuple(part[left] for part in state)
                past.keep(left)
                if not len(rows):
                    return result
            tries = self._tries(query, queried, len(rows))
            several = tuple(part.expand(tries, *part.shape) for part in (*state, origin))
            progress = queried / self.queries
            candidates = self.propose(several[:-1], several[-1], shape, progress, generator)
            if query.stochastic:
                value = self._look(query, state[0], shape, rows)
            values = self._look(query, candidates[0], shape, rows.repeat(tries))
            new, winner = values.view(tries, -1).max(0)
            better = (new > value).nonzero().squeeze(1)
            for part, candidate in zip(state, candidates, strict=True):
                part[better] = candidate[winner[better], better]
            value = torch.maximum(value, new)
            queried += tries
        result[rows] = state[0].view(-1, *shape[1:])
        return result

    def _tries(self, query: Query, queried: int, images: int) -> int:
        """How many candidates of an image are tried at once: several, once few are better."""
        if query.stochastic or queried < _ALONE:
            return 1
        return max(1, min(_SIDE_BY_SIDE, self.chunk // images, self.queries - queried))

    @staticmethod
    def _look(query: Query, x: Tensor, shape: torch.Size, rows: Tensor) -> Tensor:
        """The margin of images `[..., channels, pixels]`: positive where the model is fooled."""
        return query.objective(query.logits(x.reshape(-1, *shape[1:]), rows), rows, margin)


class _Past:
    """The margins of `b` images after earlier queries, from which hopeless searches are told.

    Args:
        value: `[b]`, the margins after the first query.
        queries: that each image may take.
    """

    def __init__(self, value: Tensor, queries: int) -> None:
        self._queries = queries
        self._values = value.expand(queries // _NOTED_EVERY + 1, -1).clone()
        self._noted = 0
        self._judged = _JUDGED_FROM

    def keep(self, left: Tensor) -> None:
        """Continue with the images at the places `left` alone."""
        self._values = self._values[:, left]

    def hopeless(self, value: Tensor, queried: int) -> Tensor:
        """Whether each search should end: `[b]` bool.

        Args:
            value: `[b]`, the margins now.
            queried: how many queries of each image were made.
        """
        place = queried // _NOTED_EVERY
        if place > self._noted:
            self._values[self._noted + 1 : place + 1], self._noted = value, place
        if queried < self._judged:
            return torch.zeros_like(value, dtype=torch.bool)
        self._judged = queried + _JUDGED_EVERY
        half, quarter = self._values[place // 2], self._values[place // 4]
        rise, before = value - half, half - quarter
        most = (_SPARE + _DOUBLING * math.log2(self._queries / queried)) * rise
        return (rise > 0) & (rise <= _STEADY * before) & (-value > most)
