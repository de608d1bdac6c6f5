"""Random samples whose mutual information is known, to try estimators on.

    correlated Gaussians   I(X;Z) = -m/2 log(1 - rho^2),   m pairs of correlation rho
    Gaussian channel       I(X;Z) = d/2 log(1 + signal^2 / noise^2)
    Gaussian classes       I(Z;Y) = sum_y p(y) KL( N(m_y, 1) || sum_k p(k) N(m_k, 1) )
    coupled values         I(X;Y) of the table  q c(x, y) + (1 - q) p(x) p(y)

Source: Cover & Thomas (2006), "Elements of Information Theory", eqs. 2.28, 8.48 and 9.16. The
divergences of the third have no closed form and are integrated by the trapezoidal rule, whose error
is below 1e-5 nats. c is the joint distribution of X and Y that takes the same quantile of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_joint
from narrows.information.discrete import discrete_information

__all__ = [
    "Known",
    "correlated_gaussians",
    "coupled_values",
    "gaussian_channel",
    "gaussian_classes",
    "quantile_coupling",
]

_WIDEST, _STEP = 8.0, 0.25
_CLASSES_AT_ONCE = 64


@dataclass(frozen=True)
class Known:
    """Samples that can be drawn in any number, and the information in them.

    Attributes:
        information: the true value, in nats.
        draw: takes the number of samples and a generator, and returns the arguments of an
            estimator; the first axis of each tensor is the samples.
    """

    information: float
    draw: Callable[[int, torch.Generator], tuple[Any, ...]]

    def sample(self, n: int, seed: int = 0) -> tuple[Any, ...]:
        """Draw `n` samples; the same seed gives the same ones."""
        return self.draw(n, torch.Generator().manual_seed(seed))


def correlated_gaussians(nats: float, columns_x: int = 1, columns_z: int = 1) -> Known:
    """Pairs of standard normal columns of equal correlation, `nats` of information in all.

    Args:
        nats: I(X;Z).
        columns_x: number of columns of x. Those that have no partner are independent noise.
        columns_z: likewise, of z.

    Returns:
        Samples x `[n, columns_x]` and z `[n, columns_z]`, float64.

    Example:
        >>> [part.shape for part in correlated_gaussians(0.5, 3, 2).sample(10)]
        [torch.Size([10, 3]), torch.Size([10, 2])]
    """
    pairs = min(columns_x, columns_z)
    rho, rest = math.sqrt(-math.expm1(-2 * nats / pairs)), math.exp(-nats / pairs)

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, z = (_normal(n, columns, generator) for columns in (columns_x, columns_z))
        z[:, :pairs] = rho * x[:, :pairs] + rest * z[:, :pairs]
        return x, z

    return Known(nats, draw)


def gaussian_channel(d: int = 1, signal: float = 1.0, noise: float = 1.0) -> Known:
    """X ~ N(0, signal^2 I_d) and Z = X + N(0, noise^2 I_d).

    Args:
        d: number of columns.
        signal: standard deviation of X.
        noise: standard deviation of Z given X.

    Returns:
        The means and the scales of p(z|x), `[n, d]` each, float64.
    """

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        mean = signal * _normal(n, d, generator)
        return mean, torch.full_like(mean, noise)

    return Known(d / 2 * math.log1p((signal / noise) ** 2), draw)


def gaussian_classes(p_y: ArrayLike, d: int = 1, apart: float = 2.0) -> Known:
    """Labels, and a code z ~ N(m_y, I_d) whose class means lie on the diagonal of its columns.

    Args:
        p_y: `[C]`, the probability of each class.
        d: number of columns of z. All of them say equally much about the label.
        apart: distance of neighbouring means, in standard deviations of z given y.

    Returns:
        Samples of the mean of p(z|y) `[n, d]`, of z `[n, d]`, float64, and labels `[n]`, of which
        the classes have their exact shares, to rounding.
    """
    p = check_joint(as_tensor(p_y, "p_y")[:, None], "p_y")[:, 0]
    means = apart * torch.arange(len(p), dtype=torch.float64)

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        shares = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        y = torch.searchsorted(p.cumsum(0), shares).clamp_max(len(p) - 1)
        mean = (means[y] / math.sqrt(d))[:, None].expand(-1, d).contiguous()
        return mean, mean + _normal(n, d, generator), y

    return Known(_class_information(p, means), draw)


def coupled_values(x: Tensor, p_x: Tensor, p_y: Tensor, share: float) -> Known:
    """Values of x and labels: with probability `share` of equal quantile, else independent.

    Args:
        x: `[X, D]`, the values that x can take, in any order.
        p_x: `[X]`, their probabilities.
        p_y: `[Y]`, those of the labels.
        share: of the samples that are not independent, 0 to 1.

    Returns:
        Samples of x `[n, D]` and labels `[n]`.
    """
    joint = share * quantile_coupling(p_x, p_y) + (1 - share) * p_x[:, None] * p_y

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        cell = torch.multinomial(joint.flatten(), n, replacement=True, generator=generator)
        return x[cell // len(p_y)], cell % len(p_y)

    # Independent values have an information of 0 but for rounding.
    return Known(max(discrete_information(joint), 0.0), draw)


def quantile_coupling(p_x: Tensor, p_y: Tensor) -> Tensor:
    """The joint distribution `[X, Y]` with these margins in which one uniform number decides both.

    Example:
        >>> quantile_coupling(torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])).tolist()
        [[0.25, 0.25], [0.0, 0.5]]
    """
    upper_x, upper_y = p_x.cumsum(0)[:, None], p_y.cumsum(0)
    lower = torch.maximum(upper_x - p_x[:, None], upper_y - p_y)
    return (torch.minimum(upper_x, upper_y) - lower).clamp_min(0)


def _normal(n: int, d: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=generator)


def _class_information(p: Tensor, means: Tensor) -> float:
    """I(Z;Y) of one column, z ~ N(m_y, 1)."""
    offset = torch.arange(-_WIDEST, _WIDEST + _STEP / 2, _STEP, dtype=torch.float64)
    weight = (-0.5 * offset.square()).exp()
    weight = weight / weight.sum()
    total = 0.0
    for some_p, centres in zip(
        p.split(_CLASSES_AT_ONCE), means.split(_CLASSES_AT_ONCE), strict=True
    ):
        z = centres[:, None] + offset
        log_mixture = (p.log() - 0.5 * (z[..., None] - means).square()).logsumexp(-1)
        total += (some_p @ (-0.5 * offset.square() - log_mixture) @ weight).item()
    return max(total, 0.0)
