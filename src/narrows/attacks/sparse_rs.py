"""Sparse-RS: random search over a few pixels and their colours, without a gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.attacks._base import Limits
from narrows.attacks._random_search import RandomSearch
from narrows.attacks.norms import farthest
from narrows.types import Norm

__all__ = ["SparseRS", "exchanged_share"]

_MARKS = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries
_DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)  # before, between and after them


@dataclass(frozen=True, kw_only=True)
class SparseRS(RandomSearch):
    """Random search over which `eps` pixels change, and to which colour; it needs no gradient.

        candidate = best, where pixels A become those of x, and pixels B get new colours
        best <- candidate          if L(candidate) > L(best)

    A holds pixels that are changed in `best`, B as many that are not; both are random. In a new
    colour each channel is 0 or 1. L is the margin. A holds the share `alpha_init` of the `eps`
    pixels, and at least one. After 0, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10,000
    queries, rescaled to `queries`, that share is divided by 2, 4, 5, 6, 8, 10, 12, 15 and 20.

    Source: Croce, Andriushchenko, Singh, Flammarion & Hein (2022), arXiv 2006.12834, Algorithms 1
    and 2.

    Deviations: the loss is the margin towards a target too, where the paper takes the
    cross-entropy. Each image has exchanges of its own, and four candidates are tried side by side
    once 500 queries were made. Where `eps` is the number of all pixels, the pixels A get new
    colours.

    Shapes: of images `[n, C, H, W]` a pixel has all C channels; of other shapes each number is a
    pixel.

    Args:
        norm: `"l0"`.
        eps: number of pixels.
        queries: forward passes for each image.
        patient: whether each search takes all its queries unless it succeeds; if not, it ends where
            the margin rises steadily and by far too little, as `RandomSearch` says.
        alpha_init: share of the `eps` pixels that the first candidates exchange.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]))
        >>> x, y = torch.tensor([[0.6, 0.5, 0.6, 0.5]]), torch.tensor([0])
        >>> SparseRS(eps=1, queries=100)(model, x, y).robust_accuracy
        0.0
    """

    source: ClassVar[str] = "Croce et al. 2022, arXiv 2006.12834"
    supported_norms: ClassVar[tuple[Norm, ...]] = ("l0",)

    norm: Norm = "l0"
    eps: float = 10
    alpha_init: float = 0.3

    limits: ClassVar[Limits] = {"alpha_init": {"above": 0, "high": 1}}

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(eps=2, queries=50)

    def pixels(self, x: Tensor) -> int:
        """The number of pixels of images `x: [b, ...]`, as L0 counts them."""
        return int(farthest(x, "l0"))

    def begin(self, x: Tensor, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Random pixels in random colours, and all pixels in an order that begins with them.

        Args:
            x: `[b, channels, pixels]`, the images.
            shape: of the batch, `[b, ...]`.
            generator: of the pixels and colours.
        """
        order = _rank(x, x.shape[-1], generator)
        return _exchange(x, order[..., :0], x, order[..., : int(self.eps)], generator), order

    def propose(
        self,
        state: tuple[Tensor, ...],
        x: Tensor,
        shape: torch.Size,
        progress: float,
        generator: torch.Generator,
    ) -> tuple[Tensor, ...]:
        """Exchange some of the changed pixels for others.

        Args:
            state: images `[tries, b, channels, pixels]`, and all pixels `[tries, b, pixels]`, the
                changed ones first.
            x: `[tries, b, channels, pixels]`, the images.
            shape: of the batch, `[b, ...]`.
            progress: share of all queries that were made.
            generator: of the pixels and colours.
        """
        best, order = state
        changed, pixels = int(self.eps), x.shape[-1]
        count = max(1, int(exchanged_share(self.alpha_init, progress) * changed))
        left = _rank(x, changed, generator)[..., :count]
        if changed == pixels:
            places = order.gather(-1, left)
            return _exchange(best, places[..., :0], x, places, generator), order
        entered = changed + _rank(x, pixels - changed, generator)[..., :count]
        left = left[..., : entered.shape[-1]]
        out, into = order.gather(-1, left), order.gather(-1, entered)
        order = order.scatter(-1, left, into).scatter(-1, entered, out)
        return _exchange(best, out, x, into, generator), order


def exchanged_share(alpha_init: float, progress: float) -> float:
    """The share of the changed pixels to exchange after `progress` in [0, 1] of all queries."""
    return alpha_init / _DIVISORS[sum(progress * 10_000 > mark for mark in _MARKS)]


def _rank(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The numbers below `count` in random order for each of `x: [..., channels, pixels]`."""
    return torch.rand(*x.shape[:-2], count, device=x.device, generator=generator).argsort(-1)


def _exchange(
    best: Tensor, out: Tensor, x: Tensor, into: Tensor, generator: torch.Generator
) -> Tensor:
    """`best` with the pixels `out: [..., k]` of `x`, and random colours at `into: [..., m]`."""
    out, into = (places.unsqueeze(-2).expand(*x.shape[:-1], -1) for places in (out, into))
    colour = torch.rand(into.shape, device=x.device, generator=generator).round().to(x.dtype)
    return best.scatter(-1, out, x.gather(-1, out)).scatter(-1, into, colour)
