"""The best attempt so far at each image of a chunk."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["Best", "StackBest"]


class Best:
    """The best attempt so far at each image of a chunk.

    Attributes:
        x: `[n, ...]`, the attempts; the images themselves before any was offered.
        value: `[n]`, the objective at `x`; inf where `x` fools the model.
        fooled: `[n]` bool, whether `x` fools the model.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x.clone()
        self.value = x.new_full((len(x),), -math.inf)
        self.fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def offer(self, rows: Tensor, x: Tensor, value: Tensor, fooled: Tensor) -> None:
        """Store attempts where they are better; one that fools beats any that does not.

        Args:
            rows: `[b]`, the image of each attempt; an image may occur several times.
            x: `[b, ...]`, the attempts.
            value: `[b]`, the objective at each.
            fooled: `[b]` bool, whether each fools the model.
        """
        value = value.to(self.value.dtype).masked_fill(fooled, math.inf)
        peak = self.value.scatter_reduce(0, rows, value, "amax")
        better = (value > self.value[rows]) & (value == peak[rows])
        places = better.nonzero().squeeze(1)
        # Among equals the first one wins: writing two attempts to one image could mix them.
        first = rows.new_full((len(self.x),), len(rows))
        first = first.scatter_reduce(0, rows[places], places, "amin")
        places = places[first[rows[places]] == places]
        self.x[rows[places]] = x[places]
        self.value = peak
        self.fooled[rows[fooled]] = True

    def attempts(self, count: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Plan `count` attempts at each image that is not fooled yet.

        As many later attempts as fit a chunk are made side by side, because few images are left by
        then and small batches waste the hardware.

        Args:
            count: attempts at each image.
            chunk: images that are attacked at once.

        Yields:
            `rows: [b]`, the image of each attempt, and `[b]`, its number; first all of number 0.
        """
        yield from self._plan(torch.arange(len(self.x), device=self.x.device), count, chunk)

    def _plan(self, rows: Tensor, count: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
        done = 0
        while done < count and len(rows := rows[~self.fooled[rows]]):
            copies = min(count - done, max(1, chunk // len(rows))) if done else 1
            numbers = torch.arange(done, done + copies, device=rows.device)
            yield rows.repeat(copies), numbers.repeat_interleave(len(rows))
            done += copies


class StackBest(Best):
    """The best attempts at the images of many models, each with a plan of its own.

    Args:
        x: `[b, ...]`, the images of one model after another.
        owner: `[b]`, the number of the model, rising.
    """

    def __init__(self, x: Tensor, owner: Tensor) -> None:
        super().__init__(x)
        self._owner = owner

    def attempts(self, count: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Plan for each model what it would be alone, and do the n-th steps of all together."""
        rows = [(self._owner == number).nonzero().squeeze(1) for number in self._owner.unique()]
        plans = [self._plan(part, count, chunk) for part in rows]
        while steps := [step for plan in plans if (step := next(plan, None)) is not None]:
            yield torch.cat([step[0] for step in steps]), torch.cat([step[1] for step in steps])
