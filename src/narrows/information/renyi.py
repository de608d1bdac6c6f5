"""Matrix-based Renyi entropy: the entropy of the eigenvalues of a kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.checks import ArrayLike, check_number, check_samples
from narrows.errors import InputError
from narrows.information._checks import as_real, check_pair, constant_columns
from narrows.information.hsic import gaussian_kernel
from narrows.types import Estimate

__all__ = ["renyi_entropy", "renyi_information"]

_SATURATED = 0.95


def renyi_entropy(*kernels: ArrayLike, alpha: float = 1.01) -> Tensor:
    """Joint entropy of the samples as one or more kernels see them: `[..., n, n]` to `[...]`.

        S_a(A) = log tr(A^a) / (1 - a),   A_ij = K_ij / (n sqrt(K_ii K_jj))
        S_a(A, B) = S_a( A o B / tr(A o B) )

    o multiplies entry by entry; a = 1 is the limit -tr(A log A). The result is differentiable, in
    nats, and lies between 0 and log n. Order 2 needs no eigenvalues and takes 1/n of the time.

    Source: Sanchez Giraldo, Rao & Principe (2015), arXiv 1211.2459, definitions 2 and 3; for more
    than two kernels Yu et al. (2019), arXiv 1808.07912. They write logarithms to base 2.

    Args:
        kernels: positive semi-definite, of the same samples; leading axes broadcast.
        alpha: the order, above 0.

    Returns:
        A tensor of the leading axes of the kernels.

    Raises:
        InputError: for no kernel, matrices that are not square or of different sizes, no samples,
            NaN or inf, a diagonal that is not positive, or an order that is not.

    Example:
        >>> round(renyi_entropy(torch.eye(8)).item() / math.log(2), 3)
        3.0
    """
    alpha = check_number(alpha, "alpha", above=0, error=InputError)
    state = _product([as_real(kernel, "a kernel") for kernel in kernels])
    if alpha == 2:
        return -state.square().sum((-2, -1)).log()
    # Rounding can make eigenvalues slightly negative.
    values = torch.linalg.eigvalsh(state).clamp_min(0)
    if alpha == 1:
        return -torch.special.xlogy(values, values).sum(-1)
    return values.pow(alpha).sum(-1).log() / (1 - alpha)


def renyi_information(
    x: ArrayLike,
    z: ArrayLike,
    alpha: float = 1.01,
    bandwidth_x: float | None = None,
    bandwidth_z: float | None = None,
) -> Estimate:
    """Matrix-based Renyi information of two sets of samples under Gaussian kernels.

        I_a(X; Z) = S_a(A) + S_a(B) - S_a(A, B)

    A and B are the kernels of x and z, normalised to trace 1, and S_a is `renyi_entropy`. No
    density is estimated, and the value does not converge to Shannon's information: the bandwidth
    decides which samples count as different. As it goes to 0 every sample differs and I is log n;
    as it grows all are alike and I is 0. Compare only values of one bandwidth.

    Source: Sanchez Giraldo, Rao & Principe (2015), arXiv 1211.2459; with a = 1.01 on hidden layers
    Yu et al. (2019), arXiv 1808.07912.

    Args:
        x: `[n, D]`.
        z: `[n, K]`; labels as one-hot vectors with a bandwidth of about 0.1.
        alpha: the order; near 1 for Shannon-like entropies, 2 for speed.
        bandwidth_x: of the kernel of x, in the units of x; None for Silverman's rule, the root of
            the mean variance of the columns times n^(-1 / (D + 4)). With that rule a factor of all
            of x changes nothing, and columns count by their size. Constant samples, which look
            alike at every bandwidth, get 1.
        bandwidth_z: likewise.

    Returns:
        Estimate in nats, computed in float64, without a standard error; its ceiling is log n.
        Diagnostics: `bound` ("none"), `alpha`, `bandwidth_x`, `bandwidth_z`, `entropy_x`,
        `entropy_z`, `measures`, `constant_columns` of x and z together, and `saturated`: an entropy
        within 5 % of log n, where nearly every sample counts as different.

    Raises:
        InputError: for NaN, wrong shapes, unequal lengths, fewer than 2 samples, an impossible
            order or bandwidth.

    Example:
        >>> x = torch.tensor([[0.0], [0.0], [9.0], [9.0]])
        >>> round(renyi_information(x, -x, bandwidth_x=1.0, bandwidth_z=1.0).bits, 6)
        1.0
    """
    x, z = check_pair(check_samples(x, "x"), check_samples(z, "z"))
    widths = [_width(x, bandwidth_x), _width(z, bandwidth_z)]
    k, other = (
        gaussian_kernel(part / width, 1.0) if given is None else gaussian_kernel(part, width)
        for part, width, given in zip((x, z), widths, (bandwidth_x, bandwidth_z), strict=True)
    )
    of_x, of_z, both = (
        renyi_entropy(*kernels, alpha=alpha).item() for kernels in ((k,), (other,), (k, other))
    )
    ceiling = math.log(len(x))
    diagnostics = {
        "bound": "none",
        "alpha": alpha,
        "bandwidth_x": widths[0],
        "bandwidth_z": widths[1],
        "entropy_x": of_x,
        "entropy_z": of_z,
        "measures": "what two kernels share, in units of Renyi's entropy; not Shannon's I(X;Z)",
        "constant_columns": constant_columns(x) + constant_columns(z),
        "saturated": max(of_x, of_z) > _SATURATED * ceiling,
    }
    return Estimate(of_x + of_z - both, math.nan, len(x), ceiling, diagnostics)


def _product(kernels: Sequence[Tensor]) -> Tensor:
    """A, of trace 1, of the product of all kernels, each with a diagonal of 1."""
    if not kernels:
        raise InputError("expected at least one kernel, got none")
    size = kernels[0].shape[-1:]
    for kernel in kernels:
        if kernel.dim() < 2 or kernel.shape[-2:] != size * 2 or not size[0]:
            shapes = [list(each.shape) for each in kernels]
            raise InputError(f"expected kernels [..., n, n] of the same samples, got {shapes}")
    state = torch.ones((), dtype=kernels[0].dtype, device=kernels[0].device)
    for kernel in kernels:
        if not kernel.isfinite().all():
            raise InputError("a kernel holds NaN or inf; leave those samples out")
        diagonal = kernel.diagonal(dim1=-2, dim2=-1)
        if not (diagonal > 0).all():
            raise InputError(
                "a kernel's diagonal must be positive, got a smallest of "
                f"{diagonal.min().item():g}; a linear kernel of a sample at 0 has none"
            )
        root = diagonal.rsqrt()
        state = state * kernel * root[..., :, None] * root[..., None, :]
    return state / size[0]


def _width(samples: Tensor, bandwidth: float | None) -> float:
    if bandwidth is not None:
        return bandwidth
    n, d = samples.shape
    if constant_columns(samples) == d:
        return 1.0
    # The squares of very small numbers are 0, and a power of two rounds nothing.
    exponent = torch.frexp(samples.amax(0) - samples.amin(0)).exponent.max().clamp_min(-1000)
    size = torch.ldexp(samples.new_ones(()), exponent)
    return ((samples / size).var(0).mean().sqrt() * size).item() * n ** (-1 / (d + 4))
