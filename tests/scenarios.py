"""Named targets with known answers, for tests of anything that measures or trains bottlenecks."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def binary_entropy(p: float) -> float:
    """h(p) = -p log p - (1-p) log(1-p) in nats."""
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


def generator(seed: int) -> torch.Generator:
    """A generator of its own, so that no test depends on another's draws."""
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class GaussianChannel:
    """X ~ N(0, signal^2 I_d), Z = X + N(0, noise^2 I_d): I(X;Z) = d/2 log(1 + signal^2/noise^2).

    X itself is the deterministic code, to which a kernel estimator adds the noise.
    """

    d: int = 2
    signal: float = 1.0
    noise: float = 1.0

    @property
    def information(self) -> float:
        """I(X;Z) in nats."""
        return self.d / 2 * math.log1p((self.signal / self.noise) ** 2)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """X, which is the mean of p(z|x): `[n, d]` float64."""
        return self.signal * torch.randn(n, self.d, dtype=torch.float64, generator=generator(seed))


@dataclass(frozen=True)
class CorrelatedGaussians:
    """d pairs of standard normals with correlation rho: I = -d/2 log(1 - rho^2)."""

    rho: float = 0.8
    d: int = 1

    @property
    def information(self) -> float:
        """I(X;Z) in nats."""
        return -0.5 * self.d * math.log1p(-(self.rho**2))

    def sample(self, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Pairs x, z: `[n, d]` float64 each."""
        x, other = torch.randn(2, n, self.d, dtype=torch.float64, generator=generator(seed))
        return x, self.rho * x + math.sqrt(1 - self.rho**2) * other


@dataclass(frozen=True)
class TwoGaussians:
    """A balanced label, the code at +offset or -offset: Z|Y ~ N(+-offset, noise^2).

    I(X;Z) = I(Z;Y), since the mean is the label. The posterior's logit is 2 offset z / noise^2.
    """

    offset: float = 1.0
    noise: float = 1.0

    @property
    def information(self) -> float:
        """I(Z;Y) in nats, by a sum over a fine grid, which is exact to rounding here."""
        z = torch.linspace(-12, 12, 20_001, dtype=torch.float64) * self.noise + self.offset
        density = torch.exp(-0.5 * ((z - self.offset) / self.noise) ** 2)
        surprise = torch.nn.functional.softplus(-2 * self.offset * z / self.noise**2)
        return math.log(2) - ((density * surprise).sum() / density.sum()).item()

    def sample(self, n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Mean of p(z|x), a draw z, `[n, 1]` float64 each, and labels `[n]`, as many of either."""
        y = torch.arange(n) % 2
        mean = self.offset * (2 * y.double() - 1)[:, None]
        noise = torch.randn(n, 1, dtype=torch.float64, generator=generator(seed))
        return mean, mean + self.noise * noise, y

    def logits(self, z: Tensor) -> Tensor:
        """Logits of the exact p(y|z): `[n, 2]`."""
        half = self.offset * z / self.noise**2
        return torch.cat([-half, half], 1)


@dataclass(frozen=True)
class UniformCode:
    """A continuous scalar code: cut into `bins` of equal mass, it carries log bins."""

    bins: int = 30

    @property
    def information(self) -> float:
        """H(bin(Z)) in nats."""
        return math.log(self.bins)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Z: `[n, 1]` float64."""
        return torch.rand(n, 1, dtype=torch.float64, generator=generator(seed))


@dataclass(frozen=True)
class Clusters:
    """x and z each at one of some far points, z's decided by x's: I(X;Z) = log classes."""

    classes: int = 2
    spacing: float = 1.0

    @property
    def information(self) -> float:
        """I(X;Z) in nats, of the clusters."""
        return math.log(self.classes)

    def sample(self, n: int) -> tuple[Tensor, Tensor]:
        """Points x, z: `[n, 1]` float64 each, as many in each cluster."""
        number = torch.arange(n, dtype=torch.float64)[:, None] % self.classes
        return self.spacing * number, -self.spacing * number


@dataclass(frozen=True)
class BinarySymmetric:
    """Y a fair bit, X = Y flipped with probability `flip`: the bottleneck is X flipped again.

    With a further flip of q, I(X;Z) = log 2 - h(q) and I(Z;Y) = log 2 - h(q * flip), where
    q * p = q (1-p) + p (1-q) (Mrs. Gerber's lemma, Wyner & Ziv 1973). The slope of the curve is
    beta = (1-2p) log((1-r)/r) / log((1-q)/q), r = q * p; it begins at (1-2p)^2.
    """

    flip: float = 0.1

    @property
    def joint(self) -> Tensor:
        """p(x, y): `[2, 2]` float64."""
        same, other = (1 - self.flip) / 2, self.flip / 2
        return torch.tensor([[same, other], [other, same]], dtype=torch.float64)

    @property
    def information(self) -> float:
        """I(X;Y) in nats."""
        return math.log(2) - binary_entropy(self.flip)

    @property
    def critical_beta(self) -> float:
        """From this weight of compression on, the optimum is to pass nothing: (1-2p)^2."""
        return (1 - 2 * self.flip) ** 2

    def twice(self, q: float) -> float:
        """Probability that two flips in a row, of q and of `flip`, change the bit."""
        return q * (1 - self.flip) + self.flip * (1 - q)

    def beta(self, q: float) -> float:
        """The weight of compression at which flipping X with probability q in (0, 1/2) is best."""
        r = self.twice(q)
        return (1 - 2 * self.flip) * math.log((1 - r) / r) / math.log((1 - q) / q)

    def rate(self, q: float) -> float:
        """I(X;Z) in nats at q."""
        return math.log(2) - binary_entropy(q)

    def relevance(self, q: float) -> float:
        """I(Z;Y) in nats at q."""
        return math.log(2) - binary_entropy(self.twice(q))


@dataclass(frozen=True)
class NoiselessLabels:
    """Y a fixed function of X, all classes alike: the IB curve is min(rate, log classes).

    Every beta in (0, 1) has its optimum at the corner (log classes, log classes).
    """

    classes: int = 4
    copies: int = 3

    @property
    def joint(self) -> Tensor:
        """p(x, y): `[classes * copies, classes]` float64."""
        rows = torch.eye(self.classes, dtype=torch.float64).repeat(self.copies, 1)
        return rows / len(rows)

    @property
    def information(self) -> float:
        """I(X;Y) = H(Y) in nats."""
        return math.log(self.classes)


@dataclass(frozen=True)
class SaturatingCurve:
    """An IB curve relevance = top (1 - exp(-rate / decay)) up to `longest`, whose knee is known.

    In the unit square its slope is 1 at rate = decay log(longest / (decay (1 - e^-longest/decay))).
    """

    top: float = 1.0
    decay: float = 1.0
    longest: float = 8.0

    @property
    def knee_rate(self) -> float:
        """The rate at which the curve is farthest above its chord."""
        reached = 1 - math.exp(-self.longest / self.decay)
        return self.decay * math.log(self.longest / (self.decay * reached))

    def points(
        self, n: int = 40, noise: float = 0.0, seed: int = 0
    ) -> list[tuple[float, float, float]]:
        """(beta, rate, relevance) from collapse on, beta being the slope; noise on relevance."""
        errors = noise * torch.randn(n, dtype=torch.float64, generator=generator(seed))
        curve = []
        for i, error in enumerate(errors.tolist()):
            rate = self.longest * i / (n - 1)
            left = math.exp(-rate / self.decay)
            curve.append((self.top / self.decay * left, rate, self.top * (1 - left) + error))
        return curve
