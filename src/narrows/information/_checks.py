"""What every estimator refuses, so that a wrong input never becomes a number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.errors import InputError

__all__ = [
    "check_betas",
    "check_codes",
    "check_labels",
    "check_pair",
    "check_scale",
    "constant_columns",
    "standard_error",
]

_LARGEST = 1e150


def check_codes(codes: Tensor, name: str = "mean") -> Tensor:
    """Return `codes: [n, K]` as float64, detached.

    Raises:
        InputError: for another shape, integers, no columns, fewer than 2 samples, NaN or inf, or
            numbers so large that their squares overflow.
    """
    if codes.dim() != 2 or not codes.is_floating_point():
        raise InputError(
            f"{name} must be floating point [n, K], got {codes.dtype} {list(codes.shape)}"
        )
    if not codes.shape[1]:
        raise InputError(f"{name} is {list(codes.shape)} and has no columns to measure")
    if len(codes) < 2:
        raise InputError(f"{name} holds {len(codes)} samples; an estimate needs at least 2")
    if not torch.isfinite(codes).all():
        raise InputError(f"{name} holds NaN or inf; leave those samples out")
    codes = codes.detach().to(torch.float64)
    largest = codes.abs().max().item()
    if largest > _LARGEST:
        raise InputError(
            f"{name} holds values up to {largest:.1e}, whose squares overflow; "
            "divide it by a constant"
        )
    return codes


def constant_columns(codes: Tensor) -> int:
    """How many columns of `codes: [n, K]` have one value only."""
    return int((codes == codes[0]).all(0).sum())


def check_scale(scale: Tensor | float, mean: Tensor, *, cholesky: bool = False) -> Tensor:
    """Return a scale as float64 `[n, K]`, or `[n, K, K]` where a Cholesky factor is allowed.

    A number stands for the same standard deviation everywhere.

    Raises:
        InputError: for another shape, NaN or inf, or a standard deviation that is not positive.
    """
    if not isinstance(scale, Tensor):
        if not (math.isfinite(scale) and scale > 0):
            raise InputError(f"scale must be positive and finite, got {scale}")
        return torch.full_like(mean, scale)
    shapes = [mean.shape, (*mean.shape, mean.shape[1])] if cholesky else [mean.shape]
    if scale.shape not in shapes:
        wanted = " or ".join(str(list(shape)) for shape in shapes)
        hint = "; this is for diagonal covariance only" if scale.dim() == 3 and not cholesky else ""
        raise InputError(f"scale must be a number or {wanted}, got {list(scale.shape)}{hint}")
    factor = scale.detach().to(mean)
    deviations = factor if factor.dim() == 2 else factor.diagonal(dim1=-2, dim2=-1)
    if not torch.isfinite(factor).all() or not (deviations > 0).all():
        raise InputError(
            "scale holds standard deviations that are zero, negative or not finite; a "
            "deterministic code has no density: give the noise to add to it as a number"
        )
    if factor.dim() == 3 and factor.triu(1).any():
        raise InputError("scale [n, K, K] must be lower triangular: a Cholesky factor")
    return factor


def check_labels(y: Tensor, codes: Tensor, classes: int | None = None) -> Tensor:
    """Return `y: [n]`, one label for each of `codes: [n, ...]`, as int64 on their device.

    Raises:
        InputError: for another shape, labels that are not integers, unequal lengths, or a label
            outside `0..classes-1` where `classes` is given.
    """
    if y.dim() != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise InputError(f"y must be integer labels [n], got {y.dtype} {list(y.shape)}")
    if len(y) != len(codes):
        raise InputError(f"expected one label a sample, got {len(codes)} samples, {len(y)} labels")
    low, high = (int(value) for value in y.aminmax())
    if classes is not None and (low < 0 or high >= classes):
        raise InputError(f"labels must lie in 0..{classes - 1}, got {low}..{high}")
    return y.detach().to(codes.device, torch.int64)


def check_pair(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return `x: [n, ...]` and `z: [n, ...]` on the device of x.

    Raises:
        InputError: for unequal lengths.
    """
    if len(x) != len(z):
        raise InputError(f"expected as many x as z, got {len(x)} samples, {len(z)} of z")
    return x, z.to(x.device)


def check_betas(betas: Sequence[float] | Tensor, smallest: float = 0.0) -> Tensor:
    """Return weights of compression as `[B]` float64 on the CPU.

    Raises:
        InputError: if they are no list of numbers that are finite, positive and at least
            `smallest`.
    """
    betas = torch.as_tensor(betas, dtype=torch.float64, device="cpu").detach()
    usable = torch.isfinite(betas) & (betas > 0) & (betas >= smallest)
    if betas.dim() != 1 or not len(betas) or not usable.all():
        least = f"at least {smallest:g}" if smallest else "above 0"
        raise InputError(
            f"betas must be a list of numbers, finite and {least}, got {betas.tolist()}; as "
            "beta -> 0 the relevance tends to I(X;Y)"
        )
    return betas


def standard_error(terms: Tensor) -> float:
    """Standard error of the mean of independent `terms: [n]`."""
    return (terms.std() / math.sqrt(len(terms))).item()
