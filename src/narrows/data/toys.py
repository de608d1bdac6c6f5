"""Two toy tasks with one robust and one fragile source of evidence, and their best accuracies.

    Toy 1:  x1 ~ y U(0, 10),               x2 ~ y s U(0, 1),  s = 1 with probability 0.9, else -1
    Toy 2:  x1 = y with probability p, else -y,               x2..x_(d+1) ~ N(eta y, 1)

with y uniform on {-1, 1}. In both, x1 is robust and the other features are fragile: a small shift
against the label (1 in Toy 1, 2 eta in Toy 2) reverses their evidence. One bit about x1 suffices
for a high accuracy, so a bottleneck could learn to ignore the fragile features.

Sources: Korshunova, Stutz, Alemi, Wiles & Gowal (2021), "A Closer Look at the Adversarial
Robustness of Information Bottleneck Models", arXiv 2107.05712, section 3.3 (Toy 1) and Eq. 4 (Toy
2); Toy 2 is from Tsipras et al. (2019), arXiv 1805.12152. Here the labels -1 and 1 are the classes
0 and 1. The paper draws new samples at every training step, as `sample` does with new seeds; the
loaders return fixed samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.data._base import Dataset, Root, Splits
from narrows.errors import ConfigError, InputError

__all__ = ["BayesAccuracy", "Toy1", "Toy2", "load_toy1", "load_toy2"]

_TRAIN, _VALIDATION, _TEST = 10_000, 2_000, 10_000


class BayesAccuracy(NamedTuple):
    """Exact accuracies of optimal rules, as shares.

    Attributes:
        every: of the best rule on all features.
        robust: of the best rule on x1 alone, which the shift does not touch.
        fragile: of the best rule on the other features alone.
        shifted: of the rule of `every` after the fragile features are shifted.
    """

    every: float
    robust: float
    fragile: float
    shifted: float


@dataclass(frozen=True)
class Toy1:
    """Two features; the first determines the label, the second mostly has its sign.

    Args:
        agreement: probability that x2 has the label's sign. At 0 all samples lie in regions of low
            density: the adversarial samples of the paper's appendix.
    """

    agreement: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.agreement <= 1:
            raise ConfigError(f"agreement must lie in [0, 1], got {self.agreement}")

    def sample(self, n: int, seed: int) -> Dataset:
        """Draw `x: [n, 2]` and its labels; the same seed gives the same samples."""
        generator, y, sign = _labels(n, seed)
        size = 1 - torch.rand(n, 2, generator=generator)  # in (0, 1], so that signs are defined
        agrees = torch.rand(n, generator=generator) < self.agreement
        x1, x2 = 10 * size[:, 0] * sign, size[:, 1] * sign * (2 * agrees.float() - 1)
        return Dataset("toy1", torch.stack([x1, x2], 1), y, classes=2, image=False)

    def shift(self, data: Dataset, size: float = 1.0) -> Dataset:
        """Move x2 by `size` against the label: the paper's attack."""
        return _shift(data, size)

    def bayes(self) -> BayesAccuracy:
        """Exact accuracies; x1 determines the label, so the best rule ignores x2 and its shift."""
        return BayesAccuracy(1.0, 1.0, max(self.agreement, 1 - self.agreement), 1.0)


@dataclass(frozen=True)
class Toy2:
    """One binary robust feature and many weak Gaussian ones, which together are more accurate.

    Args:
        p: probability that x1 equals the label, in (0, 1).
        d: number of Gaussian features.
        eta: their mean, times the label.
    """

    p: float = 0.95
    d: int = 100
    eta: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.p < 1 or self.d < 1 or not 0 < self.eta < math.inf:
            raise ConfigError(f"expected 0 < p < 1, d >= 1 and eta > 0, got {self}")

    def sample(self, n: int, seed: int) -> Dataset:
        """Draw `x: [n, 1 + d]` and its labels; the same seed gives the same samples."""
        generator, y, sign = _labels(n, seed)
        agrees = torch.rand(n, 1, generator=generator) < self.p
        x1 = sign[:, None] * (2 * agrees.float() - 1)
        rest = torch.randn(n, self.d, generator=generator) + self.eta * sign[:, None]
        return Dataset("toy2", torch.cat([x1, rest], 1), y, classes=2, image=False)

    def shift(self, data: Dataset, size: float | None = None) -> Dataset:
        """Move the Gaussian features by `size` (2 eta by default) against the label."""
        return _shift(data, 2 * self.eta if size is None else size)

    def bayes(self) -> BayesAccuracy:
        """Exact accuracies, from the log odds of the label.

        Given y = 1, x1 contributes +-log(p / (1 - p)) to the log odds, and the Gaussian features
        contribute 2 eta sum(x), which is normal with mean 2 d eta^2 and variance 4 d eta^2; a shift
        by 2 eta reverses the sign of that mean.
        """
        mean, deviation = 2 * self.d * self.eta**2, 2 * self.eta * math.sqrt(self.d)
        odds, cdf = math.log(self.p / (1 - self.p)), NormalDist().cdf

        def accuracy(centre: float) -> float:
            agree, differ = cdf((centre + odds) / deviation), cdf((centre - odds) / deviation)
            return self.p * agree + (1 - self.p) * differ

        robust = max(self.p, 1 - self.p)
        return BayesAccuracy(accuracy(mean), robust, cdf(mean / deviation), accuracy(-mean))


def load_toy1(root: Root = None) -> Splits:
    """Draw Toy 1, always the same samples: 10,000 / 2,000 / 10,000, `x: [n, 2]`.

    Args:
        root: not used, since the data are computed; every loader takes it.
    """
    return _draw(Toy1())


def load_toy2(root: Root = None) -> Splits:
    """Draw Toy 2, always the same samples: 10,000 / 2,000 / 10,000, `x: [n, 101]`.

    Args:
        root: not used, since the data are computed; every loader takes it.
    """
    return _draw(Toy2())


def _draw(toy: Toy1 | Toy2) -> Splits:
    sizes = (_TRAIN, _VALIDATION, _TEST)
    return Splits(*(toy.sample(n, seed) for seed, n in enumerate(sizes)))


def _labels(n: int, seed: int) -> tuple[torch.Generator, Tensor, Tensor]:
    """A fresh generator, classes `[n]`, and their signs `[n]`."""
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=generator)
    return generator, y, 2 * y.float() - 1


def _shift(data: Dataset, size: float) -> Dataset:
    x = data.x.clone()
    x[:, 1:] -= size * (2 * data.y.to(x.dtype) - 1)[:, None]
    return replace(data, name=f"{data.name} shifted", x=x)
