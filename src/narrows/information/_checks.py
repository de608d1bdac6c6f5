"""Checks of input that only estimators need: scales, pairs, betas and seeds."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_count, check_labels, check_number
from narrows.errors import InputError

__all__ = [
    "as_real",
    "as_scale",
    "check_betas",
    "check_pair",
    "check_scale",
    "check_seed",
    "constant_columns",
    "full_precision",
    "labels_of",
    "standard_error",
]

_HALF = (torch.float16, torch.bfloat16)
_AUTOCAST = ("cpu", "cuda", "mps", "xpu")


def labels_of(y: ArrayLike, samples: Tensor, classes: int | None = None) -> Tensor:
    """Return labels, one for each of the samples, as int64 on their device.

    Args:
        y: `[n]`, of any integer type.
        samples: `[n, ...]`.
        classes: labels must lie in `0..classes-1`; None to accept any integer.

    Raises:
        InputError: as `narrows.checks.check_labels`.
    """
    return check_labels(y, len(samples), classes, "y").to(samples.device)


def constant_columns(codes: Tensor) -> int:
    """How many columns of `codes: [n, K]` have one value only."""
    return int((codes == codes[0]).all(0).sum())


def as_scale(scale: ArrayLike | float) -> Tensor | float:
    """Return a scale as a float if it is one number, and else as a tensor.

    Raises:
        InputError: for a number that is not positive and finite, or a value that holds no numbers.
    """
    if isinstance(scale, (int, float, numbers.Real, np.bool_)):
        return check_number(scale, "scale", above=0, error=InputError)
    tensor = as_tensor(scale, "scale").detach()
    if tensor.dtype == torch.bool:
        raise InputError(f"scale must hold real numbers, got {tensor.dtype} {list(tensor.shape)}")
    return tensor if tensor.dim() else as_scale(tensor.item())


def check_scale(scale: ArrayLike | float, mean: Tensor, *, cholesky: bool = False) -> Tensor:
    """Return a scale as float64 `[n, K]`, or `[n, K, K]` where a Cholesky factor is allowed.

    Args:
        scale: standard deviations; one number stands for the same one everywhere.
        mean: `[n, K]`, the means they belong to.
        cholesky: whether Cholesky factors of full covariances are accepted.

    Raises:
        InputError: for another shape, NaN or infinity, or a standard deviation that is not
            positive.
    """
    scale = as_scale(scale)
    if not isinstance(scale, Tensor):
        return torch.full_like(mean, scale)
    shapes = [mean.shape, (*mean.shape, mean.shape[1])] if cholesky else [mean.shape]
    if scale.shape not in shapes:
        wanted = " or ".join(str(list(shape)) for shape in shapes)
        hint = "; this is for diagonal covariance only" if scale.dim() == 3 and not cholesky else ""
        raise InputError(f"scale must be a number or {wanted}, got {list(scale.shape)}{hint}")
    factor = scale.to(mean)
    deviations = factor if factor.dim() == 2 else factor.diagonal(dim1=-2, dim2=-1)
    if not torch.isfinite(factor).all() or not (deviations > 0).all():
        raise InputError(
            "scale holds standard deviations that are zero, negative or not finite; a "
            "deterministic code has no density: give the noise to add to it as a number"
        )
    if factor.dim() == 3 and factor.triu(1).any():
        raise InputError("scale [n, K, K] must be lower triangular: a Cholesky factor")
    return factor


def check_pair(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return `x: [n, ...]` and `z: [n, ...]` on the device of x.

    Raises:
        InputError: for unequal lengths.
    """
    if len(x) != len(z):
        raise InputError(f"expected as many x as z, got {len(x)} samples, {len(z)} of z")
    return x, z.to(x.device)


def check_betas(betas: ArrayLike, smallest: float = 0.0) -> Tensor:
    """Return weights of compression as `[B]` float64 on the CPU.

    Raises:
        InputError: if they are no list of numbers that are finite, positive and at least
            `smallest`.
    """
    if isinstance(betas, numbers.Real):
        raise InputError(f"betas must be a list of numbers, got {betas}; write [{betas}]")
    weights = as_tensor(betas, "betas").detach()
    switches = isinstance(betas, Sequence) and any(isinstance(b, (bool, np.bool_)) for b in betas)
    if weights.dtype == torch.bool or switches:
        raise InputError("betas must be a list of real numbers, got booleans")
    if weights.dim() != 1 or not len(weights):
        raise InputError(f"betas must be a list of numbers [B], got {list(weights.shape)}")
    weights = weights.to("cpu", torch.float64)
    unusable = ~(torch.isfinite(weights) & (weights > 0) & (weights >= smallest))
    if unusable.any():
        least = f"at least {smallest:g}" if smallest else "above 0"
        raise InputError(
            f"betas must be finite and {least}, got {weights[unusable][0].item():g}; as beta -> 0 "
            "the relevance tends to I(X;Y)"
        )
    return weights


def check_seed(seed: int) -> int:
    """Return the seed of a generator, a whole number from 0 to 2^64 - 1.

    Raises:
        InputError: for anything else.
    """
    seed = check_count(seed, "seed", 0, InputError)
    if seed >= 2**64:
        raise InputError(f"seed must be below 2^64, got a number of {seed.bit_length()} bits")
    return seed


def as_real(values: ArrayLike, name: str) -> Tensor:
    """Return real numbers in at least single precision, and whole ones in double.

    Raises:
        InputError: for complex numbers, or a value that holds no numbers.
    """
    tensor = as_tensor(values, name)
    if tensor.dtype in _HALF:
        return tensor.float()
    return tensor if tensor.is_floating_point() else tensor.double()


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context without autocast, so that no matrix product of a measurement is rounded."""
    if device.type in _AUTOCAST and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def standard_error(terms: Tensor) -> float:
    """Standard error of the mean of independent `terms: [n]`."""
    return (terms.std() / math.sqrt(len(terms))).item()
