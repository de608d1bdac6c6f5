"""The exact information bottleneck of jointly Gaussian X and Y, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor
from narrows.errors import InputError
from narrows.information._checks import check_betas
from narrows.information.curve import IBPoint

__all__ = ["GaussianIB", "gaussian_bottleneck"]

_ROUNDING = 1e-12


# No generated equality: it would compare tensors, whose truth value is undefined.
@dataclass(frozen=True, eq=False)
class GaussianIB:
    """The Gaussian bottleneck at each of B betas, in nats; R = min(X, Y) directions.

    Attributes:
        betas: `[B]`, the weight of compression, in the order in which they were given.
        rate: `[B]`, I(X;Z).
        relevance: `[B]`, I(Z;Y).
        critical_betas: `[R]`, falling: from each on, one direction fewer passes.
        projection: `[B, R, X]`, A; the rows of directions that do not pass are 0.
        information: I(X;Y), the relevance that no code exceeds.
    """

    betas: Tensor
    rate: Tensor
    relevance: Tensor
    critical_betas: Tensor
    projection: Tensor
    information: float

    def points(self) -> list[IBPoint]:
        """The solutions as points of the IB curve."""
        rows = zip(self.betas.tolist(), self.rate.tolist(), self.relevance.tolist(), strict=True)
        return [IBPoint(*row) for row in rows]


def gaussian_bottleneck(
    s_xx: ArrayLike, s_xy: ArrayLike, s_yy: ArrayLike, betas: ArrayLike
) -> GaussianIB:
    """Solve the bottleneck of jointly Gaussian X and Y at each beta.

        minimise beta I(X;Z) - I(Z;Y),   Z = A x + N(0, I)
        rate      = sum_i 1/2 log( rho_i^2 (1 - beta) / (beta (1 - rho_i^2)) )
        relevance = sum_i 1/2 log( (1 - beta) / (1 - rho_i^2) )

    Both sums are over the i with beta < rho_i^2. rho_i are the canonical correlations of X and Y,
    so the critical betas, above which direction i is dropped, are rho_i^2. Row i of A is the
    canonical direction of X, of unit variance, scaled to a signal-to-noise ratio of
    (rho_i^2 - beta) / (beta (1 - rho_i^2)).

    Source: Chechik, Globerson, Tishby & Weiss (2005), "Information Bottleneck for Gaussian
    Variables", JMLR 6, theorem 3.1 and eq. 20, who minimise I(X;Z) - beta_C I(Z;Y): beta_C =
    1 / beta.
    Deviation: their eigenvalues of Sigma_x|y Sigma_x^-1 are 1 - rho_i^2, taken here from a singular
    value decomposition of the whitened cross-covariance, which keeps full precision for small rho.

    Args:
        s_xx: `[X, X]`, the covariance of X.
        s_xy: `[X, Y]`, the covariances of X with Y.
        s_yy: `[Y, Y]`, the covariance of Y.
        betas: weights of I(X;Z), above 0. As beta -> 0 the rate grows without limit and the
            relevance tends to I(X;Y); from the largest squared canonical correlation on both are 0.

    Returns:
        The solutions at all betas, in nats.

    Raises:
        InputError: for shapes that do not fit, covariances that are singular, not symmetric or not
            those of any joint distribution, a direction in which X determines Y (its information is
            infinite), or a beta that is not positive.

    Example:
        >>> unit, rho = torch.ones(1, 1), torch.tensor([[0.8]])
        >>> solution = gaussian_bottleneck(unit, rho, unit, [0.16, 0.64])
        >>> [round(point.relevance, 4) for point in solution.points()]
        [0.4236, 0.0]
    """
    betas = check_betas(betas)
    root_x, root_y = _root(s_xx, "s_xx"), _root(s_yy, "s_yy")
    whitened = _whiten(_cross(s_xy, len(root_x), len(root_y)), root_x, root_y)
    directions, rho, _ = torch.linalg.svd(whitened, full_matrices=False)
    _check_correlations(rho)
    rest = (1 - rho) * (1 + rho)
    # For a direction that does not pass, beta = rho^2 makes both informations 0.
    beta = torch.minimum(betas[:, None], rho.square())
    signal = (rho.square() - beta) / (beta * rest)
    signal = torch.where(betas[:, None] < rho.square(), signal, 0)
    relevance = 0.5 * (torch.log1p(signal) - torch.log1p(signal * rest))
    canonical = torch.linalg.solve_triangular(root_x.T, directions, upper=True).T
    return GaussianIB(
        betas=betas,
        rate=0.5 * torch.log1p(signal).sum(1),
        relevance=relevance.sum(1),
        critical_betas=rho.square(),
        projection=signal.sqrt()[:, :, None] * canonical,
        information=-0.5 * rest.log().sum().item(),
    )


def _matrix(value: ArrayLike, name: str) -> Tensor:
    """A real matrix, float64 on the CPU."""
    matrix = as_tensor(value, name).detach()
    if matrix.dim() != 2 or not matrix.numel():
        kind = str(matrix.dtype).removeprefix("torch.")
        raise InputError(f"{name} must be a matrix of real numbers, got {kind} {[*matrix.shape]}")
    return matrix.to("cpu", torch.float64)


def _root(value: ArrayLike, name: str) -> Tensor:
    """Cholesky factor of a covariance, float64 on the CPU."""
    covariance = _matrix(value, name)
    if covariance.shape[0] != covariance.shape[1]:
        raise InputError(f"{name} must be a square matrix, got {list(covariance.shape)}")
    if not torch.allclose(covariance, covariance.T, rtol=1e-5, atol=0):
        raise InputError(f"{name} must be symmetric and finite, as a covariance is")
    root, failed = torch.linalg.cholesky_ex(covariance)
    if failed or not (root.diagonal().square() > _ROUNDING * covariance.diagonal()).all():
        raise InputError(
            f"{name} is singular: a column is constant or a combination of others; drop it"
        )
    return root


def _cross(value: ArrayLike, x: int, y: int) -> Tensor:
    s_xy = _matrix(value, "s_xy")
    if s_xy.shape != (x, y):
        raise InputError(f"s_xy must be [{x}, {y}], got {list(s_xy.shape)}")
    if not torch.isfinite(s_xy).all():
        raise InputError("s_xy holds NaN or inf")
    return s_xy


def _whiten(s_xy: Tensor, root_x: Tensor, root_y: Tensor) -> Tensor:
    """Covariances of X and Y in coordinates where either has unit covariance."""
    half = torch.linalg.solve_triangular(root_x, s_xy, upper=False)
    return torch.linalg.solve_triangular(root_y, half.T, upper=False).T


def _check_correlations(rho: Tensor) -> None:
    largest = rho[0].item()
    if largest > 1 + 1e-6:
        raise InputError(
            f"the covariances belong to no joint distribution: X and Y would have a correlation of "
            f"{largest:g}; take all three from the same samples"
        )
    if largest > 1 - _ROUNDING:
        raise InputError(
            "X determines a direction of Y, so that I(X;Y) is infinite; add noise to Y"
        )
