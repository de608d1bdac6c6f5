"""Square attack: random search by squares of colour, without a gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self

import torch
import torch.nn.functional as functional
from torch import Tensor

from narrows.attacks._base import Limits
from narrows.attacks._random_search import RandomSearch
from narrows.attacks.norms import ORDER
from narrows.attacks.norms import size as size_of
from narrows.types import Norm

__all__ = ["Square", "bump", "plane", "share"]

_HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries
_GRID = 5  # bumps on each side where the L2 search begins


@dataclass(frozen=True, kw_only=True)
class Square(RandomSearch):
    """Random search by square windows; it needs the logits of the model and no gradient.

        candidate = P(best + s),   s a change of one square window
        best <- candidate          if L(candidate) > L(best)

    P projects into the ball and into [0, 1]; L is the margin. Linf: every channel of the window
    becomes x + eps or x - eps, and the search begins at vertical stripes of such colours. L2: the
    energy of two windows, and what is left of eps^2, moves into the first of them as a centred
    bump that is positive on one half and negative on the other; the search begins at a grid of
    bumps. L1 does the same with L1 sizes in the place of energies. A window covers the share p of
    the image. It begins at `p_init` and is halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000
    and 8000 of 10,000 queries, rescaled to `queries`.

    Source: Andriushchenko et al. (2020), arXiv 1912.00049, Algorithms 1-3, eq. 2; for L1 Croce &
    Hein (2021), arXiv 2103.01208, section 4.

    Deviations: the loss is the margin towards a target too, where the paper takes the
    cross-entropy. A colour that would change nothing is inverted, as in the authors' code. Each
    image has windows of its own. Once 500 queries were made, few windows improve the loss: then
    four are tried side by side if they fit a chunk, and the best is kept. This keeps batches large
    as images leave, and left as many images robust. With L1 a candidate is clipped to [0, 1], where
    the authors project; the size that this leaves unused goes into later windows.

    Shapes: the last two axes `[..., H, W]` of an image are its plane. An input `[n, d]` is a square
    plane if d is a square number, else a line, on which a window is an interval. Where a window
    does not fit a narrow plane it is longer instead, of the same area.

    Against a stochastic model no image leaves before the end, and each query evaluates the best
    image again too, so that one lucky draw cannot stop the progress.

    Args:
        eps: radius, in units of the [0, 1] image range.
        queries: forward passes for each image.
        patient: whether each search takes all its queries unless it succeeds; if not, it ends where
            the margin rises steadily and by far too little, as `RandomSearch` says.
        p_init: share of the image that the first windows cover.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0, 1, 0], [0, 1.0, 0, 1]]))
        >>> x, y = torch.tensor([[0.6, 0.5, 0.6, 0.5]]), torch.tensor([0])
        >>> Square(eps=0.1, queries=100)(model, x, y).robust_accuracy
        0.0
    """

    source: ClassVar[str] = "Andriushchenko et al. 2020, arXiv 1912.00049"
    supported_norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2", "l1")

    eps: float = 8 / 255
    p_init: float = 0.8

    limits: ClassVar[Limits] = {"p_init": {"above": 0, "high": 1}}

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(eps=0.15, queries=50)

    def pixels(self, x: Tensor) -> int:
        """The number of pixels in the plane of images `x: [b, ...]`."""
        return math.prod(plane(x.shape))

    def begin(self, x: Tensor, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Stripes, or with L2 and L1 a grid of bumps.

        Args:
            x: `[b, channels, pixels]`, the images.
            shape: of the batch, `[b, ...]`.
            generator: of the colours.
        """
        if self.norm == "linf":
            return (_stripes(x, self.eps, plane(shape), generator),)
        return (_bumps(x, self.eps, self.norm, plane(shape), generator),)

    def propose(
        self,
        state: tuple[Tensor, ...],
        x: Tensor,
        shape: torch.Size,
        progress: float,
        generator: torch.Generator,
    ) -> tuple[Tensor, ...]:
        """Change one window of each image.

        Args:
            state: the images `[tries, b, channels, pixels]` so far.
            x: `[tries, b, channels, pixels]`, the images.
            shape: of the batch, `[b, ...]`.
            progress: share of all queries that were made.
            generator: of the windows.
        """
        covered = share(self.p_init, progress)
        window = _Window.covering(covered, plane(shape), self.norm, x.dtype, x.device)
        (images,) = state
        if self.norm == "linf":
            return (_recolour(images, x, self.eps, window, generator),)
        return (_move_energy(images, x, self.eps, self.norm, window, generator),)


def plane(shape: torch.Size) -> tuple[int, int]:
    """Height and width of the images of a batch `[n, ...]`."""
    if len(shape) > 2:
        return shape[-2], shape[-1]
    side = math.isqrt(shape[1])
    return (side, side) if side * side == shape[1] else (1, shape[1])


def share(p_init: float, progress: float) -> float:
    """The share of an image that a window covers after `progress` in [0, 1] of all queries."""
    return p_init / 2 ** sum(progress * 10_000 > mark for mark in _HALVED_AT)


@dataclass(frozen=True)
class _Window:
    """A window of one size, which can be placed anywhere on the plane.

    Attributes:
        room: `[2]`, number of places for its upper left corner, down and across.
        width: of the plane.
        offsets: `[h * w]`, flat indices of its pixels, counted from that corner.
        bumps: `[2, h * w]`, the L2 attack's shape upright and turned, each of norm 1.
    """

    room: Tensor
    width: int
    offsets: Tensor
    bumps: Tensor

    @classmethod
    @lru_cache(maxsize=32)
    def covering(
        cls,
        p: float,
        size: tuple[int, int],
        norm: Norm,
        dtype: torch.dtype,
        device: torch.device | None = None,
    ) -> _Window:
        """The window that covers a share `p` of a plane of `size`; odd, at least 3, for bumps."""
        (height, width), least = size, 1 if norm == "linf" else 3
        side = max(round(math.sqrt(p * height * width)), least)
        side += norm != "linf" and side % 2 == 0
        h = w = side
        if side > (narrow := min(size)):
            wide = min(max(round(p * height * width / narrow), least), max(size))
            h, w = (narrow, wide) if height <= width else (wide, narrow)
        down, across = (torch.arange(n, device=device) for n in (h, w))
        upright = bump(h, w, norm)
        turned = upright.T if h == w else upright
        return cls(
            room=torch.tensor([height - h + 1, width - w + 1], device=device),
            width=width,
            offsets=(down[:, None] * width + across).flatten(),
            bumps=torch.stack([upright.flatten(), turned.flatten()]).to(device, dtype),
        )

    def places(self, uniform: Tensor, channels: int) -> Tensor:
        """Flat indices `[..., channels, h * w]` of windows, from uniform numbers `[..., 2]`."""
        corner = (uniform * self.room).long().minimum(self.room - 1)  # the product can round up
        first = corner[..., 0] * self.width + corner[..., 1]
        pixels = (first[..., None] + self.offsets).unsqueeze(-2)
        return pixels.expand(*first.shape, channels, -1)


def bump(h: int, w: int, norm: Norm = "l2") -> Tensor:
    """The shape of eq. 2, `[h, w]` of norm 1: one half of the longer side positive, one negative.

    A pixel m rings away from the centre of its half holds the sum of 1 / j^2 over j = m+1..n+1,
    where n rings cover that half. With L1 it is 1 / j^4, as in the authors' code.
    """
    if h > w:
        return bump(w, h, norm).T
    power, order = (4, 1) if norm == "l1" else (2, 2)
    halves = []
    for columns, sign in ((w // 2, 1.0), (w - w // 2, -1.0)):
        down = (torch.arange(h) - h // 2).abs()
        across = (torch.arange(columns) - columns // 2).abs()
        n = max(h, columns) // 2
        heights = torch.tensor(
            [sum(1 / j**power for j in range(m + 1, n + 2)) for m in range(n + 1)]
        )
        half = heights[torch.maximum(down[:, None], across)]
        halves.append(sign * half / half.norm(order).clamp_min(1e-12))
    whole = torch.cat(halves, 1)
    return whole / whole.norm(order)


def _uniform(
    count: Sequence[int], numbers: int, like: Tensor, generator: torch.Generator
) -> Tensor:
    return torch.rand(*count, numbers, device=like.device, generator=generator)


def _stripes(x: Tensor, eps: float, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Each column of each channel up or down by eps."""
    (count, channels, _), (height, width) = x.shape, size
    up = _uniform([count], channels * width, x, generator).view(count, channels, 1, width) < 0.5
    up = up.expand(-1, -1, height, -1).reshape(x.shape)
    return torch.where(up, x + eps, x - eps).clamp_(0, 1)


def _recolour(
    best: Tensor, x: Tensor, eps: float, window: _Window, generator: torch.Generator
) -> Tensor:
    """One window of each image in a random colour; in the opposite one if it had that colour."""
    channels = x.shape[-2]
    uniform = _uniform(x.shape[:-2], 2 + channels, x, generator)
    places = window.places(uniform[..., :2], channels)
    change = torch.where(uniform[..., 2:, None] < 0.5, eps, -eps).to(x.dtype)
    inside = x.gather(-1, places)
    colour = (inside + change).clamp_(0, 1)
    same = (colour == best.gather(-1, places)).flatten(-2).all(-1)
    colour = torch.where(same[..., None, None], (inside - change).clamp_(0, 1), colour)
    return best.scatter(-1, places, colour)


def _bumps(
    x: Tensor, eps: float, norm: Norm, size: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """A grid of 5 x 5 bumps of random sign, whose sum has the size eps."""
    (count, channels, _), (height, width) = x.shape, size
    h, w = max(height // _GRID, 1), max(width // _GRID, 1)
    down, across = height // h, width // w
    sign = _uniform([count], channels * down * across, x, generator) < 0.5
    sign = torch.where(sign, 1.0, -1.0).to(x.dtype).view(count, channels, down, across)
    tiles = sign.repeat_interleave(h, 2).repeat_interleave(w, 3) * bump(h, w, norm).to(x).repeat(
        down, across
    )
    top, left = (height - down * h) // 2, (width - across * w) // 2
    margins = (left, width - across * w - left, top, height - down * h - top)
    delta = functional.pad(tiles, margins).reshape(x.shape)
    length = size_of(delta, norm).clamp_min(torch.finfo(x.dtype).tiny)
    return (x + delta * (eps / length).view(-1, 1, 1)).clamp_(0, 1)


def _move_energy(
    best: Tensor, x: Tensor, eps: float, norm: Norm, window: _Window, generator: torch.Generator
) -> Tensor:
    """Move the energy of two windows, and what is unused, into the first one (Algorithm 3).

    The energy of a part is sum_i |d_i|^p, where p is 2 with L2 and 1 with L1.
    """
    channels, p = x.shape[-2], ORDER[norm]
    uniform = _uniform(x.shape[:-2], 5 + channels, x, generator)
    first = window.places(uniform[..., :2], channels)
    second = window.places(uniform[..., 2:4], channels)
    sign = torch.where(uniform[..., 5:, None] < 0.5, 1.0, -1.0).to(x.dtype)
    shape = window.bumps[(uniform[..., 4] < 0.5).long()].unsqueeze(-2)
    delta = best - x
    inside = delta.gather(-1, first)
    direction = sign * shape + _unit(inside, p)
    energy = _energy(delta, p)
    unused = (eps**p - energy.sum(-2, keepdim=True)).clamp_min(0)
    emptied = delta.scatter_(-1, second, 0.0).scatter_(-1, first, 0.0)
    freed = (energy - _energy(emptied, p)).clamp_min(0)
    inside = _unit(direction, p) * (freed + unused / channels).pow(1 / p)
    moved = emptied.scatter_(-1, first, inside)
    # The size is eps already, but for rounding.
    length = _energy(moved, p).sum(-2, keepdim=True).pow(1 / p)
    return moved.mul_(eps / length.clamp_min(torch.finfo(x.dtype).tiny)).add_(x).clamp_(0, 1)


def _energy(parts: Tensor, p: float) -> Tensor:
    """`sum_i |d_i|^p` of parts `[..., k]`: `[..., 1]`."""
    return (parts.square() if p == 2 else parts.abs()).sum(-1, keepdim=True)


def _unit(parts: Tensor, p: float) -> Tensor:
    """Parts `[..., k]` with norm 1 each; zero stays zero."""
    tiny = torch.finfo(parts.dtype).tiny ** 0.5
    return parts / _energy(parts, p).pow(1 / p).clamp_min(tiny)
