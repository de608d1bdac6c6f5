"""Nearest-neighbour estimates of information: Kraskov et al. for vectors, Ross for labels."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_count, check_number, check_samples
from narrows.errors import InputError
from narrows.information._checks import (
    check_pair,
    check_seed,
    constant_columns,
    labels_of,
    standard_error,
)
from narrows.information._counts import count_within
from narrows.information._ksg_diagnostics import Settings, diagnose
from narrows.information._neighbours import nearest
from narrows.information._scaling import Scaling, scale_columns
from narrows.information.discrete import label_rows
from narrows.types import Estimate

__all__ = ["ksg", "ksg_relevance"]

_PARTS = 10

Variant = Literal[1, 2, "mixture"]


def ksg(
    x: ArrayLike,
    z: ArrayLike,
    k: int = 3,
    variant: Variant | None = None,
    jitter: float = 0.0,
    seed: int = 0,
    *,
    scaling: Scaling = "columns",
) -> Estimate:
    """Estimate I(X;Z) of two vectors, continuous or in part discrete, from nearest neighbours.

        I_1   = psi(k) + psi(n) - < psi(n_x + 1) + psi(n_z + 1) >
        I_2   = psi(k) - 1/k + psi(n) - < psi(n_x) + psi(n_z) >
        I_mix = psi(n) + < psi(m_xz) - psi(m_x) - psi(m_z) >

    Distances are maximum norms, psi is the digamma function and < > the mean over samples. I_1: n_x
    and n_z count the other samples nearer in x, or in z, than the k-th neighbour in both. I_2: they
    count those within the smallest rectangle that holds the k neighbours. I_mix is for values that
    occur more than once: atoms, mixtures of atoms and densities, and rounded numbers. m_xz, m_x and
    m_z count the samples, each sample itself among them, nearer than the k-th neighbour; if the
    distance of that one is 0, they count those at distance 0. Without equal distances m_xz is k and
    I_mix is I_1. For atoms alone it is the plug-in estimate with psi for log, which removes most of
    the bias.

    The density must be nearly constant from each sample to its k-th neighbour. Where it is not, the
    estimates are far too low: in many dimensions (0.76 of the 1.4 nats of correlated Gaussians with
    d = 10 and n = 10,000), and where the dependence is strong, since the number of samples needed
    grows exponentially with I (Gao, Ver Steeg & Galstyan 2015, arXiv 1411.2003).

    Source: Kraskov, Stoegbauer & Grassberger (2004), arXiv cond-mat/0305641, eqs. 8 and 9; I_mix:
    Gao, Kannan, Oh & Viswanath (2017), arXiv 1709.06212, algorithm 1. Deviations from the latter:
    psi(n) for log n and psi for log(n_x + 1), as in their code; and m_xz in place of k where
    several neighbours are equally far, without which two independent variables that were rounded to
    tenths would share 0.1 to 0.2 nats.

    Args:
        x: `[n, D]`.
        z: `[n, K]`.
        k: which neighbour; a larger k makes the estimate steadier and more biased.
        variant: 1 or 2, the two algorithms of Kraskov et al.; "mixture" for data with atoms; None
            for "mixture" where a column has a value more than k times, and else for 1.
        jitter: standard deviation of Gaussian noise to add, in units of the standard deviation of
            each column. The result is then the information of the noisy data.
        seed: of the jitter.
        scaling: the units of distances. "columns" divides every column by its standard deviation,
            so that the units of a column do not matter; "vectors" divides all of x, and all of z,
            by one number, for columns whose relative size has a meaning; "ranks" turns each column
            into normal scores, which no increasing map of it changes, for heavy tails; "none" takes
            the numbers as they are.

    Returns:
        Estimate in nats, which can be negative, and is 0 where x or z is constant. Its standard
        error is that of estimates from up to ten disjoint parts of the samples, as the variance
        falls as 1/n (Holmes & Nemenman 2019, arXiv 1903.09280), and NaN below 8k samples.
        Diagnostics: `bound` ("none"), `neighbours`, `variant`, `scaling`, `jitter`, `duplicates`
        (share of samples that equal k others), `ties` (the same in x or in z alone, whichever is
        larger), `constant_columns` of x and z together, `neighbourhood` (median distance to the
        k-th neighbour in units of the typical width of x given z), `alone` (for "mixture": share of
        samples with no other nearer than the k-th neighbour) and `warning`, a sentence where the
        estimate must not be believed, else None.

    Raises:
        InputError: for NaN, wrong shapes, unequal lengths, k samples or fewer, an unknown variant
            or scaling.

    Example:
        >>> x, noise = torch.randn(2, 1000, 1, generator=torch.Generator().manual_seed(0))
        >>> abs(ksg(x, x + noise).bits - 0.5) < 0.1
        True
    """
    given = as_tensor(x, "x"), as_tensor(z, "z")
    x, z = check_pair(check_samples(given[0], "x"), check_samples(given[1], "z"))
    n = len(x)
    variants: dict[str, Variant | None] = {str(each): each for each in (None, 1, 2, "mixture")}
    if str(variant) not in variants:
        raise InputError(f"variant must be 1, 2, 'mixture' or None, got {variant!r}")
    variant = variants[str(variant)]
    k, seed = _check_settings(k, jitter, seed, n)
    (x, rounding), (z, other) = (
        scale_columns(_shake(part, jitter, (seed + i) % 2**64), scaling, eps=_eps(given[i]))
        for i, part in enumerate((x, z))
    )
    rounding = max(rounding, other)
    if variant is None:
        variant = "mixture" if _has_atoms(torch.cat([x, z], 1), k, rounding) else 1
    nats, radius, inside = _vectors(x, z, k, variant, rounding)
    width = (radius.median() / _typical(torch.cat([x, z], 1))).item()
    width *= math.exp(nats / min(x.shape[1], z.shape[1]))
    settings = Settings(k, variant, scaling, jitter)
    diagnostics = diagnose(settings, radius, inside, width, x=x, z=z)
    if _is_constant(x) or _is_constant(z):
        return Estimate(0.0, 0.0, n, 0.0, diagnostics)
    parts = _parts(torch.cat([x, z], 1), n // (4 * k))
    error = _error([_vectors(x[rows], z[rows], k, variant, rounding)[0] for rows in parts])
    return Estimate(nats, error, n, _ceiling(n, k, variant, radius, inside), diagnostics)


def ksg_relevance(
    z: ArrayLike,
    y: ArrayLike,
    k: int = 3,
    jitter: float = 0.0,
    seed: int = 0,
    *,
    variant: Literal["ross", "mixture"] | None = None,
    scaling: Scaling = "columns",
) -> Estimate:
    """Estimate I(Z;Y) of a code, continuous or in part discrete, and labels from neighbours.

        I_Ross = psi(k) + psi(n) - < psi(n_y) + psi(m) >
        I_mix  = psi(n) + < psi(m_zy) - psi(n_y) - psi(m) >

    n_y is the number of samples with the same label. I_Ross: m counts the other samples, of any
    label, as near as the k-th neighbour among those of the same label. I_mix, for a code with
    values that occur more than once, counts as in `ksg`: m_zy the samples of the same label and m
    those of any label nearer than that neighbour, each sample itself among them.

    Source: Ross (2014), "Mutual Information between Discrete and Continuous Data Sets", PLoS ONE 9,
    eq. 2; Gao, Kannan, Oh & Viswanath (2017), arXiv 1709.06212, algorithm 1, with the deviations
    that `ksg` names.

    Args:
        z: `[n, K]`.
        y: `[n]` integer labels, each of more than k samples.
        k: as in `ksg`.
        jitter: as in `ksg`.
        seed: as in `ksg`.
        variant: "ross" for a code with a density; "mixture" for one with atoms; None for "mixture"
            where a column has a value more than k times, and else for "ross".
        scaling: as in `ksg`, but the standard deviation is the one within the classes.

    Returns:
        Estimate in nats with the diagnostics of `ksg`; `neighbourhood` is in units of the typical
        column's standard deviation within the class. Its ceiling is about H(Y).

    Raises:
        InputError: as `ksg`, and for a label with k samples or fewer.

    Example:
        >>> y = torch.arange(1000) % 2
        >>> noise = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
        >>> abs(ksg_relevance(10.0 * y[:, None] + noise, y).bits - 1.0) < 0.01
        True
    """
    given = as_tensor(z, "z")
    z = check_samples(given, "z")
    y = labels_of(y, z)
    if str(variant) not in ("None", "ross", "mixture"):
        raise InputError(f"variant must be 'ross', 'mixture' or None, got {variant!r}")
    k, seed = _check_settings(k, jitter, seed, len(z))
    z, rounding = scale_columns(_shake(z, jitter, seed), scaling, y, _eps(given))
    labels, counts = y.unique(return_counts=True)
    if counts.min() <= k:
        raise InputError(
            f"label {labels[counts.argmin()].item()} has {counts.min().item()} samples; the {k} "
            f"nearest neighbours need at least {k + 1}; take a smaller k or leave that label out"
        )
    if variant is None:
        variant = "mixture" if _has_atoms(z, k, rounding) else "ross"
    nats, radius, inside, ceiling = _labelled(z, y, k, variant, rounding)
    parts = _parts(z, int(counts.min()) // (2 * k), y)
    error = _error([_labelled(z[rows], y[rows], k, variant, rounding)[0] for rows in parts])
    width = (radius / _spread_within(z, y)).median().item()
    settings = Settings(k, variant, scaling, jitter)
    diagnostics = diagnose(settings, radius, inside, width, z=z)
    if _is_constant(z):
        nats, error = 0.0, 0.0
    return Estimate(nats, error, len(z), ceiling, diagnostics)


def _vectors(
    x: Tensor, z: Tensor, k: int, variant: Variant, rounding: float = 0.0
) -> tuple[float, Tensor, Tensor | None]:
    """The estimate, distances to the k-th neighbours `[n]`, and how many are nearer, if counted."""
    both = torch.cat([x, z], 1)
    distances, rows = nearest(both, k)
    radius, of_n = distances[:, -1], _psi(len(x))
    if variant == "mixture":
        inside, n_x, n_z = (_nearer(part, radius, rounding) for part in (both, x, z))
        mean = of_n + (_psi(inside) - _psi(n_x) - _psi(n_z)).mean()
        return mean.item(), radius, inside
    if variant == 1:
        n_x, n_z = (count_within(part, radius, strict=True) + 1 for part in (x, z))
    else:
        n_x, n_z = (count_within(part, _extent(part, rows), strict=False) for part in (x, z))
    mean = _psi(k) + of_n - (_psi(n_x) + _psi(n_z)).mean() - (variant - 1) / k
    return mean.item(), radius, None


def _labelled(
    z: Tensor, y: Tensor, k: int, variant: Literal["ross", "mixture"], rounding: float
) -> tuple[float, Tensor, Tensor | None, float]:
    """As `_vectors`, for labels, and the largest value that the estimate can have."""
    radius, class_sizes, inside = torch.empty_like(z[:, 0]), y.clone(), y.clone()
    for label in y.unique():
        same = y == label
        radius[same], class_sizes[same] = nearest(z[same], k)[0][:, -1], same.sum()
        if variant == "mixture":
            inside[same] = _nearer(z[same], radius[same], rounding)
    ceiling = _psi(len(z)) - _psi(class_sizes).mean()
    if variant == "mixture":
        nats = ceiling + (_psi(inside) - _psi(_nearer(z, radius, rounding))).mean()
        return nats.item(), radius, inside, ceiling.item()
    near = count_within(z, radius, strict=False)
    return (ceiling + _psi(k) - _psi(near).mean()).item(), radius, None, ceiling.item()


def _nearer(part: Tensor, radius: Tensor, rounding: float) -> Tensor:
    """How many samples lie nearer than each one's radius, or at distance 0 if that is 0: `[n]`.

    Each sample counts itself. Distances that differ by rounding count as equal.
    """
    reach = torch.where(radius > rounding, radius - rounding, rounding)
    return count_within(part, reach, strict=False) + 1


def _has_atoms(points: Tensor, k: int, rounding: float) -> bool:
    """Whether a column that is not constant has some value more than k times."""
    line = points.sort(0).values
    varies = line[-1] - line[0] > rounding
    return bool(((line[k:] - line[:-k] <= rounding).any(0) & varies).any())


def _is_constant(part: Tensor) -> bool:
    return constant_columns(part) == part.shape[1]


def _ceiling(n: int, k: int, variant: Variant, radius: Tensor, inside: Tensor | None) -> float:
    if inside is not None:
        # At least as many samples are near in x, or in z, as in both.
        return (_psi(n) - _psi(inside).mean()).item()
    # With distinct samples n_x and n_z are at least k; equal ones can leave no sample nearer.
    fewest = 1 if variant == 1 and bool((radius == 0).any()) else k
    return (_psi(k) + _psi(n) - 2 * _psi(fewest)).item() - (variant == 2) / k


def _psi(count: Tensor | int) -> Tensor:
    return torch.digamma(torch.as_tensor(count).double())


def _extent(part: Tensor, rows: Tensor) -> Tensor:
    """Largest distance in `part: [n, D]` to any of the neighbours `rows: [n, k]`: `[n]`."""
    return (part[rows] - part[:, None]).abs().amax((1, 2))


def _shake(part: Tensor, jitter: float, seed: int) -> Tensor:
    if jitter == 0:
        return part
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(part.shape, dtype=part.dtype, generator=generator)
    return part + jitter * part.std(0) * noise.to(part.device)


def _eps(given: Tensor) -> float:
    """Relative precision of the samples as they came; 0 for whole numbers, which are exact."""
    return torch.finfo(given.dtype).eps if given.is_floating_point() else 0.0


def _typical(points: Tensor) -> Tensor:
    """Median standard deviation of the columns that are not constant."""
    spread = points.std(0)
    spread = spread[spread > 0]
    return spread.median() if len(spread) else points.new_tensor(torch.finfo(points.dtype).tiny)


def _spread_within(z: Tensor, y: Tensor) -> Tensor:
    """The typical column's standard deviation within the class of each sample: `[n]`."""
    spread = torch.empty_like(z[:, 0])
    for label in y.unique():
        spread[y == label] = _typical(z[y == label])
    return spread


def _parts(points: Tensor, most: int, y: Tensor | None = None) -> list[Tensor]:
    """Disjoint parts of the samples, each with its share of every label; none if they are too few.

    They are drawn by a hash of the values, so that the order of the samples does not matter. Equal
    samples are told apart by their number, so that the share of an atom varies between parts.
    """
    mix = torch.arange(1, points.shape[1] + 1, device=points.device).to(points).sqrt()
    number = _number_of_equals(points if y is None else torch.cat([points, y[:, None]], 1))
    order = (points @ mix * 1e4 + number).sin().mul(1e4).frac().argsort()
    if y is not None:
        order = order[y[order].argsort(stable=True)]
    count = min(_PARTS, most)
    return [order[first::count] for first in range(count)] if count > 1 else []


def _number_of_equals(points: Tensor) -> Tensor:
    """Count the samples that are equal, 0, 1, 2, ...: `[n]`."""
    row = label_rows(points)
    order = row.argsort(stable=True)
    first = torch.bincount(row).cumsum(0) - torch.bincount(row)
    place = torch.arange(len(row), device=row.device) - first[row[order]]
    return torch.empty_like(place).index_copy_(0, order, place).to(points)


def _error(parts: list[float]) -> float:
    return standard_error(torch.tensor(parts)) if parts else math.nan


def _check_settings(k: int, jitter: float, seed: int, n: int) -> tuple[int, int]:
    k = check_count(k, "k", 1, InputError)
    if k >= n:
        raise InputError(f"k must be below the number of samples {n}, got {k}")
    check_number(jitter, "jitter", 0, error=InputError)
    return k, check_seed(seed)
