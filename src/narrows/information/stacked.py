"""The estimators that a sweep needs, for all of its members at once: `[members, n, K]`.

    stacked_rates(mean, scale)[i]  =  variational_rate(mean[i], scale[i])

and likewise for the others: the same numbers, up to rounding, as one call per member, in one pass
over larger tensors. This saves time where the tensors of one member are small. `hsic` takes stacks
itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_number, check_samples
from narrows.errors import InputError
from narrows.information._checks import as_scale, check_scale, constant_columns
from narrows.information._pairs import check_resolved, error_samples
from narrows.information.binning import bin_codes
from narrows.information.discrete import label_rows
from narrows.information.kde import kde_bounds
from narrows.information.variational import variational_rate
from narrows.types import Estimate

__all__ = ["stacked_binned_rates", "stacked_kde_bounds", "stacked_rates"]

# Up to so many samples, the matrices of pairs of all members are held at once.
_MOST = 1000
_SATURATED = 0.95


def stacked_rates(mean: ArrayLike, scale: ArrayLike | float) -> list[Estimate]:
    """`variational_rate` of every member, with the prior N(0, I).

        rate_i = mean_n KL( N(mean_i, diag scale_i^2) || N(0, I) )

    Source: as `variational_rate`.

    Args:
        mean: `[members, n, K]`.
        scale: a number, or `[members, n, K]`.

    Returns:
        One estimate per member, in nats.

    Raises:
        InputError: as `variational_rate`.

    Example:
        >>> [rate.nats for rate in stacked_rates(torch.tensor([[[1.0], [-1.0]]]), 1.0)]
        [0.5]
    """
    flat, members, n = _flatten(mean)
    scale = as_scale(scale)
    if isinstance(scale, Tensor):
        if scale.shape != (members, n, flat.shape[1]):
            wanted = [members, n, flat.shape[1]]
            raise InputError(f"scale must be a number or {wanted}, got {list(scale.shape)}")
        scale = scale.flatten(0, 1)
    factor = check_scale(scale, flat)
    kl = (0.5 * (factor.square() + flat.square() - 1) - factor.log()).sum(1).unflatten(0, (-1, n))
    diagnostics = variational_rate(flat[:2], factor[:2]).diagnostics
    nats, errors = kl.mean(1).tolist(), (kl.std(1) / math.sqrt(n)).tolist()
    return [Estimate(*pair, n, diagnostics=diagnostics) for pair in zip(nats, errors, strict=True)]


def stacked_kde_bounds(
    mean: ArrayLike, scale: ArrayLike | float
) -> list[tuple[Estimate, Estimate]]:
    """`kde_bounds` of every member, for codes with one size of noise per member.

        I_i = -mean_n log mean_m exp(-D(p_n, p_m)),   p_n = N(mean_i,n, scale_i^2)

    Source: as `kde_bounds`.

    Args:
        mean: `[members, n, K]`; above 1,000 samples members are measured one after another, as
            their matrices of pairs are large already.
        scale: standard deviation of the noise, one number or one per member.

    Returns:
        One pair of a lower and an upper bound per member, in nats.

    Raises:
        InputError: as `kde_bounds`, or for another number of scales than members.
    """
    flat, members, n = _flatten(mean)
    scale = as_scale(scale)
    if isinstance(scale, Tensor) and scale.shape != (members,):
        raise InputError(f"expected a scale for each of {members} members, got {list(scale.shape)}")
    each = scale.double().tolist() if isinstance(scale, Tensor) else [scale] * members
    noises = [check_number(noise, "scale", above=0, error=InputError) for noise in each]
    codes = flat.unflatten(0, (members, n))
    if n > _MOST:
        return [kde_bounds(code, noise) for code, noise in zip(codes, noises, strict=True)]
    width = torch.tensor(noises, dtype=codes.dtype, device=codes.device)[:, None, None]
    centred = (codes - codes.mean(1, keepdim=True)) / width
    check_resolved(centred)
    squares = centred.square().sum(2)
    apart = torch.baddbmm(
        squares[:, :, None] + squares[:, None], centred, centred.mT, alpha=-2
    ).clamp_(min=0)
    lower = apart.mul_(-1 / 8).exp_()
    # The upper bound's similarities are the fourth powers of the lower one's.
    bounds = [_bounds(lower), _bounds(lower.square().square_())]
    pairs = []
    for member, noise in enumerate(noises):
        diagnostics = {
            "noise_scale": noise,
            "measures": f"information in the code + N(0, {noise:g}^2 I) about which of the {n} "
            "samples it came from",
            "constant_columns": constant_columns(codes[member]),
            "saturated": bounds[1][0][member].item() > _SATURATED * math.log(n),
        }
        low, high = (
            Estimate(nats[member].item(), error[member].item(), n, math.log(n), diagnostics | named)
            for (nats, error), named in zip(bounds, _NAMED, strict=True)
        )
        pairs.append((low, high))
    return pairs


def stacked_binned_rates(
    z: ArrayLike, bins: int = 30, width: float | None = None
) -> list[Estimate]:
    """`binned_rate` of every member, each with bins of its own.

        H(bin(Z_i)) = -mean_n log( count of the bin of n / n )

    Source: as `binned_rate`.

    Args:
        z: `[members, n, K]`.
        bins: as in `bin_codes`.
        width: as in `bin_codes`.

    Returns:
        One estimate per member, in nats.

    Raises:
        InputError: as `binned_rate`.
    """
    z = as_tensor(z, "z")
    flat, members, n = _flatten(z)
    cells = bin_codes(z.transpose(0, 1).flatten(1), bins, width)
    cells = cells.unflatten(1, (members, -1)).transpose(0, 1).flatten(0, 1)
    codes = flat.unflatten(0, (members, n))
    owner = torch.arange(members, device=z.device).repeat_interleave(n)
    label = label_rows(torch.cat([owner[:, None], cells], 1))
    counts = torch.bincount(label)
    bin_sizes = counts[label].unflatten(0, (members, n))
    terms = math.log(n) - bin_sizes.double().log()
    inside = torch.zeros(len(counts), dtype=torch.int64, device=z.device)
    occupied = torch.bincount(inside.scatter(0, label, owner), minlength=members)
    named = f"width {width:g}" if width is not None else f"{bins} per coordinate, of equal mass"
    return [
        Estimate(
            terms[i].mean().item(),
            (terms[i].std() / math.sqrt(n)).item(),
            n,
            math.log(n),
            {
                "bound": "none",
                "bins": named,
                "occupied": int(occupied[i]),
                "alone": (bin_sizes[i] == 1).double().mean().item(),
                "correction": 0.0,
                "measures": "entropy of the binned code; I(X;Z) of a deterministic continuous code "
                "is infinite",
                "constant_columns": constant_columns(codes[i]),
                "saturated": terms[i].mean().item() > _SATURATED * math.log(n),
            },
        )
        for i in range(members)
    ]


_NAMED = (
    {"bound": "lower", "distance": "bhattacharyya"},
    {"bound": "upper", "distance": "kullback-leibler"},
)


def _flatten(codes: ArrayLike) -> tuple[Tensor, int, int]:
    """Codes as `[members * n, K]` float64, and both numbers."""
    stack = as_tensor(codes, "codes")
    if stack.dim() != 3 or not len(stack):
        raise InputError(f"codes must be [members, n, K], got {list(stack.shape)}")
    check_samples(stack[0], "codes")
    return check_samples(stack.flatten(0, 1), "codes"), len(stack), stack.shape[1]


def _bounds(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Nats and standard errors `[members]` from similarities `[members, n, n]`."""
    n = similarity.shape[1]
    sums = similarity.sum(2)
    terms = math.log(n) - sums.log()
    # A sample adds its similarity to the sum of sample j, and so lowers the term of j.
    influence = terms - (1 / sums)[:, None].bmm(similarity)[:, 0]
    chosen = influence[:, error_samples(similarity[0])]
    return terms.mean(1), chosen.std(1) / math.sqrt(n)
