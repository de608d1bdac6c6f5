"""HSIC, the Hilbert-Schmidt independence criterion: how far two kernels agree on what is alike.

Kernels that carry no gradient are measured: NaN, or a matrix that is no kernel, is an error.
Kernels that carry a gradient are part of a loss. There NaN shows itself, and reading values for a
check would make a GPU wait.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from narrows.checks import ArrayLike, check_number, has_values
from narrows.errors import ConfigError, InputError
from narrows.information._checks import as_real, full_precision

__all__ = [
    "cka",
    "default_bandwidth",
    "gaussian_kernel",
    "hsic",
    "linear_kernel",
    "normalise_kernel",
]

_FEWEST = {"biased": 2, "unbiased": 4, "normalised": 2}
_ULPS = 4
# Squares of bandwidths beyond these overflow or vanish.
_NARROWEST, _WIDEST = 1e-300, 1e150
_COLUMNS = 2048  # a block of so many columns stays in the processor's cache


def default_bandwidth(columns: int) -> float:
    """5 sqrt(columns), as HBaR and IB-RAR have it, for columns of a spread of about 1."""
    return 5 * math.sqrt(columns)


def gaussian_kernel(x: ArrayLike, bandwidth: float | None = None) -> Tensor:
    """The Gaussian kernel of a batch: `[..., m, D]` to `[..., m, m]`, differentiable.

        K_ij = exp(-|x_i - x_j|^2 / 2 bandwidth^2)

    Args:
        x: a batch of m samples, or several; flatten images first.
        bandwidth: the distance from which on samples count as different, in the units of x; None
            for `default_bandwidth(D)`.

    Returns:
        In the precision of x; in single precision where x is in half.

    Raises:
        InputError: for fewer than two dimensions, or a bandwidth that is not positive.

    Example:
        >>> gaussian_kernel(torch.tensor([[0.0], [2.0]]), bandwidth=1.0)[0, 1].log().item()
        -2.0
    """
    x = _as_batch(x)
    if bandwidth is None:
        width = default_bandwidth(x.shape[-1])
    else:
        width = check_number(bandwidth, "bandwidth", high=_WIDEST, above=0, error=InputError)
    # The narrowest kernels are 0 for every pair of different samples, and 1 on the diagonal.
    factor = min(0.5 / max(width**2, _NARROWEST), torch.finfo(x.dtype).max)
    with full_precision(x.device):
        gram = _centred_gram(x)
    squares = gram.diagonal(dim1=-2, dim2=-1)
    apart = squares[..., :, None] + squares[..., None, :] - 2 * gram
    return (apart.clamp_min(0) * -factor).exp()


def linear_kernel(x: ArrayLike) -> Tensor:
    """The linear kernel of a batch: `[..., m, D]` to `[..., m, m]`, differentiable.

        K_ij = x_i . x_j

    Args:
        x: a batch of m samples, or several, such as one-hot labels.

    Returns:
        In the precision of x; in single precision where x is in half.

    Raises:
        InputError: for fewer than two dimensions.
    """
    x = _as_batch(x)
    with full_precision(x.device):
        return x @ x.mT


def hsic(
    k: ArrayLike,
    other: ArrayLike,
    kind: Literal["biased", "unbiased", "normalised"] = "biased",
    eps: float = 1e-5,
) -> Tensor:
    """HSIC of two kernel matrices, `[..., m, m]` each: `[...]`, differentiable, without a unit.

        biased      tr(K H L H) / (m - 1)^2,   H = I - 1/m
        unbiased    ( tr(K' L') + 1'K'1 1'L'1 / (m-1)(m-2) - 2/(m-2) 1'K'L'1 ) / m(m-3)
        normalised  tr(K~ L~),   K~ = HKH (HKH + eps m I)^-1

    K' and L' are K and L with zero diagonal. None of the three is an information, and 0 means
    independence only in the limit. The normalised value counts the directions, m - 1 at most, in
    which both kernels have an eigenvalue above eps m. At eps = 1e-5 these are many, so it is far
    from 0 on independent data: for normal samples and m = 100 it is 13 at 10 columns and 79 at 100
    (81 for x with itself). It depends on m, eps, the bandwidth and the number of columns: compare
    only values for which these are equal.

    Source: Gretton et al. (2005), "Measuring Statistical Dependence with Hilbert-Schmidt Norms";
    Song et al. (2012), "Feature Selection via Dependence Maximization", JMLR 13, section 2; the
    normalised form is that of Fukumizu et al. (2007), "Kernel Measures of Conditional Dependence",
    as HBaR (Wang et al. 2021, arXiv 2106.02734) and IB-RAR (Xu et al. 2022, arXiv 2302.10896) train
    with it: eps = 1e-5, s = 5 sqrt(dim), batches of about 100. Their code centres K on one side
    only, which has the same trace.

    Args:
        k: kernel of one set of samples. Leading axes broadcast, so that the stacked kernels of
            several layers are compared with one kernel of the inputs in one call.
        other: kernel of the other set.
        kind: `unbiased` has the mean 0 on independent data and can be negative; `biased` is
            positive there, by about 1/m of its parts; `normalised` is far from 0 there. To compare
            one normalised kernel many times, call `normalise_kernel` once: the value is the sum of
            the product of two of them.
        eps: of `normalised` alone.

    Returns:
        In the precision of the kernels; in single precision where they are in half.

    Raises:
        InputError: for matrices that are not square or of different sizes, fewer than 2 samples
            (4 if unbiased), or an eps that is not positive; if no kernel has a gradient, also for
            NaN or inf, or for a matrix to be normalised that is not positive semi-definite.
        ConfigError: for an unknown kind.

    Example:
        >>> x = torch.linspace(-1, 1, 20)[:, None]
        >>> k = gaussian_kernel(x, 1.0)
        >>> bool(hsic(k, k) > hsic(k, gaussian_kernel(x.abs(), 1.0)))
        True
    """
    if str(kind) not in _FEWEST:
        raise ConfigError(f"kind must be one of {', '.join(_FEWEST)}, got {kind!r}")
    k, other = as_real(k, "a kernel"), as_real(other, "a kernel")
    m = _check_kernels(k, other, _FEWEST[kind])
    measured = _measured(k, other)
    if kind == "unbiased":
        return _unbiased(k, other, m)
    if kind == "biased":
        return (_centre(k) * other).sum((-2, -1)) / (m - 1) ** 2
    value = (normalise_kernel(k, eps) * normalise_kernel(other, eps)).sum((-2, -1)).to(k.dtype)
    if measured and not value.isfinite().all():
        raise InputError("a kernel has eigenvalues well below 0, which no kernel of samples has")
    return value


def normalise_kernel(k: ArrayLike, eps: float = 1e-5) -> Tensor:
    """The normalised kernel of `k: [..., m, m]`, in float64, differentiable.

        K~ = HKH (HKH + eps m I)^-1,   H = I - 1/m

    Single precision would be wrong in the second digit, since the matrix has a condition of 1/eps.

    Args:
        k: a kernel. Its values are not checked: a matrix with NaN or with eigenvalues below -eps m
            becomes NaN.
        eps: above 0.

    Raises:
        InputError: for a matrix that is not square, or an eps that is not positive.
    """
    k = as_real(k, "a kernel")
    m = _check_kernels(k, k, 2)
    eps = check_number(eps, "eps", above=0, error=InputError)
    normalised: Any = _Normalised.apply(_centre(_centre(k.double()).mT), eps * m)
    return normalised


def cka(k: ArrayLike, other: ArrayLike) -> Tensor:
    """Centred kernel alignment: `[..., m, m]` each to `[...]` in 0..1, differentiable.

        CKA(K, L) = HSIC(K, L) / sqrt( HSIC(K, K) HSIC(L, L) ),   HSIC biased

    It is also called normalised HSIC. A factor of a kernel changes nothing, for a linear kernel not
    even a factor of x; columns count by their size. On independent data it is above 0, the more so
    the more columns there are for m samples.

    Source: Kornblith et al. (2019), arXiv 1905.00414, eq. 3.

    Args:
        k: kernel of one set of samples.
        other: kernel of the other set.

    Returns:
        The alignment; 0 for a constant kernel that is part of a loss.

    Raises:
        InputError: as `hsic`, and for a constant kernel if no kernel has a gradient.
    """
    k, other = as_real(k, "a kernel"), as_real(other, "a kernel")
    value = hsic(k, other)
    (of_k, flat), (of_other, flat_other) = _spread(k), _spread(other)
    flat = flat | flat_other
    if _measured(k, other) and flat.any():
        raise InputError("a kernel is constant, so there is nothing to align; leave it out")
    # Divided by 1 where it is flat, so that no gradient becomes NaN.
    return torch.where(flat, 0.0, value / torch.where(flat, 1.0, of_k * of_other))


def _spread(k: Tensor) -> tuple[Tensor, Tensor]:
    """Root of a kernel's HSIC with itself, and whether it is only rounding: `[...]` each."""
    m = k.shape[-1]
    squares = _centre(k).square().sum((-2, -1))
    noise = (m * _ULPS * torch.finfo(k.dtype).eps * k.abs().amax((-2, -1))).square()
    flat = squares <= noise
    return torch.where(flat, 1.0, squares).sqrt() / (m - 1), flat


def _unbiased(k: Tensor, other: Tensor, m: int) -> Tensor:
    rest = 1 - torch.eye(m, dtype=k.dtype, device=k.device)
    # Centring changes only the rounding: kernels near 1 leave single precision few digits.
    k, other = _centre(k) * rest, _centre(other) * rest
    of_k, of_other = k.sum(-1), other.sum(-1)
    both = (k * other).sum((-2, -1))
    apart = of_k.sum(-1) * of_other.sum(-1) / ((m - 1) * (m - 2))
    mixed = 2 / (m - 2) * (of_k * of_other).sum(-1)
    return (both + apart - mixed) / (m * (m - 3))


def _centre(k: Tensor) -> Tensor:
    """Subtract the mean of each row and column of a symmetric kernel."""
    rows = k.mean(-1, keepdim=True)
    return k - rows - rows.mT + rows.mean(-2, keepdim=True)


class _Normalised(torch.autograd.Function):
    """K (K + ridge I)^-1 = I - B. Its derivative, B dK B / ridge, needs no factorisation."""

    generate_vmap_rule = True

    @staticmethod
    def forward(k: Tensor, ridge: float) -> Tensor:
        eye = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)
        root, failed = torch.linalg.cholesky_ex(k + ridge * eye)
        # A factorisation that failed would solve another system.
        root = root.masked_fill((failed > 0)[..., None, None], torch.nan)
        return torch.cholesky_solve(k, root)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.ridge = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (normalised,) = ctx.saved_tensors
        (grad,) = grad_outputs
        eye = torch.eye(grad.shape[-1], dtype=grad.dtype, device=grad.device)
        rest = eye - normalised
        return rest.mT @ grad @ rest.mT / ctx.ridge, None


class _CentredGram(torch.autograd.Function):
    """Hx (Hx)'. Distances do not depend on the mean of x, but their rounding does.

    The gradient is one product, H (g + g') H x. Neither pass holds a second copy of x, which may be
    the largest tensor of a training step.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        gram = torch.zeros((), dtype=x.dtype, device=x.device)
        for columns in x.split(_COLUMNS, -1):
            centred = columns - columns.mean(-2, keepdim=True)
            gram = gram + centred @ centred.mT
        return gram

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        (grad,) = grad_outputs
        with full_precision(x.device):
            return _centre(grad + grad.mT) @ x


def _centred_gram(x: Tensor) -> Tensor:
    gram: Any = _CentredGram.apply(x)
    return gram


def _measured(*kernels: Tensor) -> bool:
    """Whether these kernels are measured, and so must be finite, rather than part of a loss."""
    if not all(has_values(kernel) and not kernel.requires_grad for kernel in kernels):
        return False
    if not all(bool(kernel.isfinite().all()) for kernel in kernels):
        raise InputError("a kernel holds NaN or inf; leave those samples out")
    return True


def _as_batch(x: ArrayLike) -> Tensor:
    samples = as_real(x, "x")
    if samples.dim() < 2 or not samples.numel():
        raise InputError(f"x must be samples [..., m, D], got {list(samples.shape)}")
    return samples


def _check_kernels(k: Tensor, other: Tensor, fewest: int) -> int:
    shapes = [k.shape[-2:], other.shape[-2:]]
    m = k.shape[-1] if k.dim() else 0
    if min(k.dim(), other.dim()) < 2 or any(shape != (m, m) for shape in shapes):
        raise InputError(
            f"expected two kernels [..., m, m] of the same samples, got {list(k.shape)} and "
            f"{list(other.shape)}"
        )
    if m < fewest:
        raise InputError(f"expected at least {fewest} samples, got {m}")
    return m
