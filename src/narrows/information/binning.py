"""Plug-in estimates after binning: count how often each bin, and each bin with a label, occurs.

Binning is a measurement of its own kind. A deterministic code of a continuous input has infinite
I(X;Z); what is reported instead rises by log 2 for every informative coordinate when the bins are
halved (Saxe et al. 2018; Goldfeld et al. 2019, arXiv 1810.05728). Once every sample is alone in its
bin, I(X; bin(Z)) is log n and I(bin(Z); Y) is H(Y), whatever the code is.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_count, check_number, check_samples
from narrows.errors import InputError
from narrows.information._checks import constant_columns, labels_of, standard_error
from narrows.information.discrete import label_rows
from narrows.types import Estimate

__all__ = ["bin_codes", "binned_rate", "binned_relevance"]

_SATURATED = 0.95
_LARGEST = 2.0**53
# A computed number that should lie on an edge is within a few roundings of it.
_ULPS = 16
# At most this share of a bin is taken for rounding, also where codes are coarse compared to bins.
_MOST_ROUNDING = 1 / 8


def bin_codes(z: ArrayLike, bins: int = 30, width: float | None = None) -> Tensor:
    """Which bin each coordinate of `z: [n, K]` falls into: integers `[n, K]`.

    Args:
        z: codes, of any type of numbers.
        bins: number of bins per coordinate, each of equally many samples. Equal values share a bin,
            so a value that occurs often leaves fewer bins. An increasing map of a coordinate
            changes nothing.
        width: of bins that begin at multiples of it, in the units of the code; None for bins of
            equally many samples. A number within a few roundings of a multiple, in the precision
            of `z` and at the size of its largest number, is taken for that multiple: of 0, 0.1,
            ..., 0.9 and a width of 0.1 each has a bin of its own in any precision.

    Raises:
        InputError: for NaN, wrong shapes, fewer than 2 samples or 2 bins, or a width that is not
            positive or too small for the precision of the numbers.

    Example:
        >>> bin_codes(torch.tensor([[0.1], [0.2], [0.9], [5.0]]), bins=2)[:, 0].tolist()
        [0, 0, 1, 1]
    """
    given = as_tensor(z, "z")
    eps = torch.finfo(given.dtype if given.is_floating_point() else torch.float64).eps
    z = check_samples(given, "z")
    if width is not None:
        return _cells(z, check_number(width, "width", above=0, error=InputError), eps)
    bins = check_count(bins, "bins", 2, InputError)
    columns = z.T.contiguous()
    edges = _edges_of_equal_mass(columns.sort(1).values, bins)
    return torch.searchsorted(edges, columns, right=True).T


def _edges_of_equal_mass(ordered: Tensor, bins: int) -> Tensor:
    """Where the bins of `ordered: [K, n]` begin, without the first: `[K, bins - 1]`.

    An edge amid equal values moves to that end of them that is nearer. Otherwise a coordinate that
    has one of two values would be in one bin if the smaller one is more frequent.
    """
    n = ordered.shape[1]
    at = torch.tensor([n * i // bins for i in range(1, bins)], device=ordered.device)
    values = ordered[:, at].contiguous()
    first = torch.searchsorted(ordered, values)
    after = torch.searchsorted(ordered, values, right=True)
    later = (after < n) & ((first == 0) | (after - at < at - first))
    return ordered.gather(1, torch.where(later, after, first))


def _cells(z: Tensor, width: float, eps: float) -> Tensor:
    """The largest multiple of the width up to each number, with rounding allowed for."""
    steps = z / width
    largest = steps.abs().amax(0)
    if not largest.max() <= _LARGEST:
        raise InputError(f"width {width:g} is below the precision of codes as large as these")
    return (steps + (_ULPS * eps * largest).clamp_max(_MOST_ROUNDING)).floor().long()


def binned_rate(
    z: ArrayLike, bins: int = 30, width: float | None = None, *, miller_madow: bool = False
) -> Estimate:
    """Estimate I(X; bin(Z)) = H(bin(Z)) of a deterministic code whose inputs are all distinct.

        H(bin(Z)) = -1/n sum_i log( n_bin(i) / n )

    n_bin(i) is the number of samples in the bin of sample i. Every coordinate is cut into bins, and
    a bin of z is a cell of all coordinates.

    Source: Shwartz-Ziv & Tishby (2017), arXiv 1703.00810, for hidden layers. The correction is that
    of Miller (1955), "Note on the bias of information estimates": the entropy of m occupied bins is
    about (m - 1) / 2n too low.

    Args:
        z: `[n, K]`.
        bins: as in `bin_codes`.
        width: as in `bin_codes`.
        miller_madow: correct the entropy for the number of occupied bins.

    Returns:
        Estimate in nats with ceiling log n (without the correction). Diagnostics: `bound` ("none"),
        `bins` in words, `measures`, `occupied` bins, `alone` (share of samples that are alone in
        their bin), `correction` in nats, `constant_columns` of the code, and `saturated`: within
        5 % of log n.

    Raises:
        InputError: as `bin_codes`.

    Example:
        >>> round(binned_rate(torch.linspace(0, 1, 64)[:, None], bins=4).bits, 6)
        2.0
    """
    cell = label_rows(bin_codes(z, bins, width))
    counts = torch.bincount(cell)
    n = len(cell)
    terms = math.log(n) - counts.double().log()[cell]
    correction = (len(counts) - 1) / (2 * n) if miller_madow else 0.0
    diagnostics = _diagnostics(bins, width, counts, correction) | {
        "measures": "entropy of the binned code; I(X;Z) of a deterministic continuous code is "
        "infinite",
        "constant_columns": constant_columns(check_samples(z, "z")),
        "saturated": terms.mean().item() > _SATURATED * math.log(n),
    }
    return _estimate(terms, correction, math.log(n), diagnostics)


def binned_relevance(
    z: ArrayLike,
    y: ArrayLike,
    bins: int = 30,
    width: float | None = None,
    *,
    miller_madow: bool = False,
) -> Estimate:
    """Estimate I(bin(Z); Y), which is too high where bins hold few samples.

        I(bin(Z); Y) = 1/n sum_i log( n n_bin,y(i) / (n_bin(i) n_y(i)) )

    n_bin,y(i) is the number of samples with the bin and the label of sample i, n_bin(i) and n_y(i)
    the numbers with its bin and with its label.

    Source: Shwartz-Ziv & Tishby (2017), arXiv 1703.00810; the correction is that of Miller (1955),
    "Note on the bias of information estimates", for each of the three entropies.

    Args:
        z: `[n, K]`.
        y: `[n]` integer labels.
        bins: as in `bin_codes`.
        width: as in `bin_codes`.
        miller_madow: correct the three entropies for the number of occupied bins.

    Returns:
        Estimate in nats with ceiling H(Y) and the diagnostics of `binned_rate`. `saturated` means
        that more than half of the samples are alone in their bin: the value is then near H(Y)
        whatever the code is.

    Raises:
        InputError: as `bin_codes`, and for labels that are not one integer for each sample.

    Example:
        >>> z, y = torch.tensor([[0.0], [0.1], [5.0], [5.1]]), torch.tensor([0, 0, 1, 1])
        >>> round(binned_relevance(z, y, bins=2).bits, 6)
        1.0
    """
    cell = label_rows(bin_codes(z, bins, width))
    label = label_rows(labels_of(y, cell))
    n, both = len(cell), label_rows(torch.stack([cell, label], 1))
    parts = (cell, label, both)
    counts = [torch.bincount(part) for part in parts]
    in_cell, in_class, in_both = (
        count.double().log()[part] for count, part in zip(counts, parts, strict=True)
    )
    terms = math.log(n) + in_both - in_cell - in_class
    occupied = len(counts[0]) + len(counts[1]) - len(counts[2]) - 1
    correction = occupied / (2 * n) if miller_madow else 0.0
    diagnostics = _diagnostics(bins, width, counts[0], correction)
    diagnostics |= {
        "measures": "information in the binned code",
        "constant_columns": constant_columns(check_samples(z, "z")),
        "saturated": diagnostics["alone"] > 0.5,
    }
    return _estimate(terms, correction, math.log(n) - in_class.mean().item(), diagnostics)


def _diagnostics(
    bins: int, width: float | None, counts: Tensor, correction: float
) -> dict[str, Any]:
    fixed = f"width {width:g}" if width is not None else f"{bins} per coordinate, of equal mass"
    return {
        "bound": "none",
        "bins": fixed,
        "occupied": len(counts),
        "alone": (counts == 1).sum().item() / counts.sum().item(),
        "correction": correction,
    }


def _estimate(
    terms: Tensor, correction: float, ceiling: float, diagnostics: dict[str, Any]
) -> Estimate:
    return Estimate(
        terms.mean().item() + correction,
        standard_error(terms),
        len(terms),
        ceiling + max(correction, 0.0),
        diagnostics,
    )
