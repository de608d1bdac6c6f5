"""Named samplers whose information is known in closed form, for a bench of estimators.

Maps that are one to one on x and on z alone change no I(X;Z): they bend what is easy. Sources: the
Student-t entropy of Arellano-Valle, Contreras-Reyes & Genton (2013), "Shannon entropy and mutual
information for multivariate skew-elliptical distributions"; the maps as in Czyz et al. (2023),
arXiv 2306.11078.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LABELLED", "PAIRS", "Draw", "Sampler"]


class Draw(NamedTuple):
    """Samples `x: [n, D]` and `z: [n, K]`.

    Where x is a label, `y: [n]` is too. Where p(z|x) is Gaussian, or where a deterministic code is
    measured with noise, `mean: [n, K]` and `scale` describe it.
    """

    x: Tensor
    z: Tensor
    y: Tensor | None = None
    mean: Tensor | None = None
    scale: float | None = None


@dataclass(frozen=True)
class Sampler:
    """A distribution with known `information` in nats; `dimension` of x or z, `kind` its family."""

    name: str
    kind: str
    dimension: int
    information: float
    draw: Callable[[int, torch.Generator], Draw]

    def sample(self, n: int, seed: int) -> Draw:
        """`n` samples, float64."""
        return self.draw(n, torch.Generator().manual_seed(seed))


def _normal(n: int, d: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=generator)


def _uniform(n: int, d: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, d, dtype=torch.float64, generator=generator)


def gaussian(d: int, nats: float) -> Sampler:
    """D pairs of standard normals of equal correlation, `nats` together."""
    rho = math.sqrt(-math.expm1(-2 * nats / d))

    def draw(n: int, generator: torch.Generator) -> Draw:
        x = _normal(n, d, generator)
        noise = math.sqrt(1 - rho**2)
        return Draw(x, rho * x + noise * _normal(n, d, generator), mean=rho * x, scale=noise)

    return Sampler(f"gaussian, d = {d}, {nats:g} nats", "gaussian", d, nats, draw)


def student(d: int, nats: float, freedom: int) -> Sampler:
    """The same with tails: all of a sample divided by one chi."""
    base = gaussian(d, nats)

    def entropy(p: int) -> float:
        """Of p columns with unit scale matrix."""
        half, all_ = freedom / 2, (freedom + p) / 2
        digamma = [torch.digamma(torch.tensor(v, dtype=torch.float64)).item() for v in (all_, half)]
        norm = math.lgamma(all_) - math.lgamma(half) - p / 2 * math.log(freedom * math.pi)
        return all_ * (digamma[0] - digamma[1]) - norm

    def draw(n: int, generator: torch.Generator) -> Draw:
        x, z, *_ = base.draw(n, generator)
        chi = _normal(n, freedom, generator).square().sum(1, keepdim=True) / freedom
        return Draw(x / chi.sqrt(), z / chi.sqrt())

    information = nats + 2 * entropy(d) - entropy(2 * d)
    name = f"student, {freedom} degrees, d = {d}, {information:.2g} nats"
    return Sampler(name, "student", d, information, draw)


def mapped(base: Sampler, what: str, change: Callable[[Tensor], Tensor]) -> Sampler:
    """Both sides of a sampler bent by a map that is one to one."""

    def draw(n: int, generator: torch.Generator) -> Draw:
        x, z, *_ = base.draw(n, generator)
        return Draw(change(x), change(z))

    return Sampler(f"{what} of {base.name}", what, base.dimension, base.information, draw)


def half_cube(v: Tensor) -> Tensor:
    """Long tails: v |v|^(1/2)."""
    return v * v.abs().sqrt()


def spiral(v: Tensor) -> Tensor:
    """Turn the first two columns by an angle that grows with the distance from 0."""
    angle = v.norm(dim=1, keepdim=True) * 2
    a, b, rest = v[:, :1], v[:, 1:2], v[:, 2:]
    turned = [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()]
    return torch.cat([*turned, rest], 1)


def swiss_roll(v: Tensor) -> Tensor:
    """One column rolled up in two; by its rank among normals, so that the roll has an end."""
    angle = 1.5 * math.pi * (1 + 2 * torch.special.ndtr(v[:, :1]))
    return torch.cat([angle * angle.cos(), angle * angle.sin()], 1) / 21


def additive_uniform(width: float) -> Sampler:
    """X uniform, z = x + uniform noise of half-width `width`."""
    wide = width > 0.5
    information = 1 / (4 * width) if wide else width - math.log(2 * width)

    def draw(n: int, generator: torch.Generator) -> Draw:
        x = _uniform(n, 1, generator)
        return Draw(x, x + width * (2 * _uniform(n, 1, generator) - 1))

    return Sampler(f"additive uniform, {width:g}", "uniform", 1, information, draw)


def blocks(count: int) -> Sampler:
    """A mixture of uniforms: both sides in the same of `count` blocks, anywhere within."""

    def draw(n: int, generator: torch.Generator) -> Draw:
        block = torch.randint(count, (n, 1), generator=generator)
        return Draw(*(2 * block + _uniform(n, 1, generator) for _ in range(2)))

    return Sampler(f"{count} uniform blocks", "blocks", 1, math.log(count), draw)


def classes(count: int, d: int, apart: float) -> Sampler:
    """Labels, as many of each, and a code uniform in a cube at the label's place on a line."""
    overlap = max(0.0, 1 - apart)
    # Neighbouring cubes share `overlap` of their volume, where two labels are as likely; others
    # are `apart` > 1/2 and share none.
    shared = overlap * 2 * (count - 1) / count
    information = math.log(count) - shared * math.log(2)

    def draw(n: int, generator: torch.Generator) -> Draw:
        y = torch.randint(count, (n,), generator=generator)
        z = _uniform(n, d, generator)
        z[:, 0] += apart * y
        # Noise of a thirtieth of a class's width changes the information by little.
        return Draw(y.double()[:, None], z, y=y, mean=z, scale=0.03)

    return Sampler(f"{count} classes, d = {d}, {apart:g} apart", "labels", d, information, draw)


_PLAIN = gaussian(2, 1.0)
PAIRS = [
    *(gaussian(d, 1.4) for d in (1, 3, 10, 30, 100)),
    *(gaussian(1, nats) for nats in (0.1, 5.0)),
    gaussian(10, 5.0),
    student(1, 0.5, 2),
    student(5, 1.0, 3),
    additive_uniform(0.1),
    additive_uniform(0.75),
    blocks(5),
    mapped(gaussian(1, 1.4), "half-cube", half_cube),
    mapped(gaussian(10, 1.4), "half-cube", half_cube),
    mapped(gaussian(1, 1.4), "asinh", lambda v: (5 * v).asinh()),
    mapped(_PLAIN, "spiral", spiral),
    mapped(gaussian(10, 1.4), "spiral", spiral),
    mapped(gaussian(1, 1.4), "swiss roll", swiss_roll),
    mapped(gaussian(10, 1.4), "uniform margins", torch.special.ndtr),
]
LABELLED = [classes(2, 1, 0.75), classes(5, 1, 2.0), classes(5, 10, 0.75), classes(10, 3, 0.9)]
