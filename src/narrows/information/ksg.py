"""Nearest-neighbour estimates of information: Kraskov et al. for vectors, Ross for labels.

    I_1    = psi(k) + psi(n) - < psi(n_x + 1) + psi(n_z + 1) >
    I_2    = psi(k) - 1/k + psi(n) - < psi(n_x) + psi(n_z) >
    I_Ross = psi(k) + psi(n) - < psi(n_y) + psi(m) >

Distances are maximum norms. I_1: n_x and n_z count the others nearer in x, or in z, than the k-th
neighbour in both. I_2: they count those within the smallest rectangle that holds the k neighbours.
I_Ross: n_y is the number of samples with the label, m counts the others of any label as near as the
k-th neighbour of the same one.

Source: Kraskov, Stoegbauer & Grassberger (2004), arXiv cond-mat/0305641, eqs. 8 and 9; Ross (2014),
"Mutual Information between Discrete and Continuous Data Sets", PLoS ONE 9, eq. 2.

These estimates assume that the density is constant around a sample as far as its k-th neighbour.
They fall far too low where it is not: in many dimensions (of the 1.4 nats of correlated Gaussians,
d = 10 and n = 10,000, they find 0.76), and where the dependence is strong, as the number of samples
needed grows exponentially with I (Gao, Ver Steeg & Galstyan 2015, arXiv 1411.2003). A code with
equal samples has no density at all.

Standard errors are those of estimates from disjoint parts of the samples, as the variance falls as
1/n (Holmes & Nemenman 2019, arXiv 1903.09280); that of the terms would be too small, since samples
share their neighbours.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from narrows.errors import InputError
from narrows.information._checks import (
    check_codes,
    check_labels,
    check_pair,
    constant_columns,
    standard_error,
)
from narrows.information._counts import count_within
from narrows.information._neighbours import nearest
from narrows.information.discrete import label_rows
from narrows.types import Estimate

__all__ = ["ksg", "ksg_relevance"]

# Where correlated Gaussians of 1 to 10 dimensions and 300 to 10,000 samples lost a tenth.
_WIDE = 0.8
# Of independent normals of which one was rounded, this share of ties was worth two errors.
_TIED = 0.05
_PARTS = 10


def ksg(
    x: Tensor,
    z: Tensor,
    k: int = 3,
    variant: Literal[1, 2] = 1,
    jitter: float = 0.0,
    seed: int = 0,
) -> Estimate:
    """Estimate I(X;Z) of two continuous vectors from their nearest neighbours.

    Bring x and z to similar scales first: the neighbours are those in both, in common units.

    Args:
        x: `[n, D]`.
        z: `[n, K]`.
        k: which neighbour; more make the estimate steadier and more biased.
        variant: 1 or 2, the two algorithms of the paper.
        jitter: standard deviation of Gaussian noise to add, in units of each column's own, for
            data with duplicates; what is measured then is the information of the noisy data.
        seed: of the jitter.

    Returns:
        Estimate in nats, which can be negative; the standard error is NaN below 8k samples.
        Diagnostics: `bound` ("none"), `neighbours`, `variant`, `jitter`, `duplicates` (share of
        samples that equal k others), `ties` (the largest share of samples that do so in x, or in z,
        alone), `constant_columns` of x and z together, `neighbourhood`
        (median distance to the k-th neighbour in units of the typical width of x given z) and
        `warning`, a sentence where the estimate must not be believed, else None.

    Raises:
        InputError: for NaN, wrong shapes, unequal lengths, k + 1 samples or fewer.

    Example:
        >>> x, noise = torch.randn(2, 1000, 1, generator=torch.Generator().manual_seed(0))
        >>> abs(ksg(x, x + noise).bits - 0.5) < 0.1
        True
    """
    x, z = check_pair(check_codes(x, "x"), check_codes(z, "z"))
    n = len(x)
    _check_settings(k, jitter, n, variant)
    x, z = (_shake(part, jitter, seed + i) for i, part in enumerate((x, z)))
    nats, radius = _vectors(x, z, k, variant)
    duplicates = bool((radius == 0).any())
    parts = _parts(torch.cat([x, z], 1), n // (4 * k))
    # With distinct samples n_x and n_z are at least k; equal ones can leave nobody nearer.
    fewest = 1 if duplicates and variant == 1 else k
    ceiling = _psi(k) + _psi(n) - 2 * _psi(fewest) - (variant - 1) / k
    width = (radius.median() / _typical(torch.cat([x, z], 1))).item()
    width *= math.exp(nats / min(x.shape[1], z.shape[1]))
    about = _about(k, jitter, radius, width, x=x, z=z) | {"variant": variant}
    error = _error([_vectors(x[rows], z[rows], k, variant)[0] for rows in parts])
    return Estimate(nats, error, n, ceiling.item(), about)


def ksg_relevance(z: Tensor, y: Tensor, k: int = 3, jitter: float = 0.0, seed: int = 0) -> Estimate:
    """Estimate I(Z;Y) of a continuous code and discrete labels from nearest neighbours.

    Args:
        z: `[n, K]`.
        y: `[n]` integer labels, each of more than k samples.
        k: as in `ksg`.
        jitter: as in `ksg`.
        seed: as in `ksg`.

    Returns:
        Estimate in nats with the diagnostics of `ksg`, `neighbourhood` in units of the typical
        column's standard deviation within the class. Its ceiling is about H(Y).

    Raises:
        InputError: as `ksg`, and for a label with k samples or fewer.
    """
    z = check_codes(z, "z")
    y = check_labels(y, z)
    _check_settings(k, jitter, len(z))
    z = _shake(z, jitter, seed)
    counts = torch.bincount(y.unique(return_inverse=True)[1])
    if counts.min() <= k:
        label = y.unique()[counts.argmin()].item()
        raise InputError(
            f"label {label} has {counts.min().item()} samples; the {k} nearest neighbours need at "
            f"least {k + 1}; take a smaller k or leave that label out"
        )
    nats, radius, ceiling = _labelled(z, y, k)
    parts = _parts(z, int(counts.min()) // (2 * k), y)
    error = _error([_labelled(z[rows], y[rows], k)[0] for rows in parts])
    width = (radius / _spread_within(z, y)).median().item()
    return Estimate(nats, error, len(z), ceiling, _about(k, jitter, radius, width, z=z))


def _vectors(x: Tensor, z: Tensor, k: int, variant: int) -> tuple[float, Tensor]:
    """The estimate, and each sample's distance to its k-th neighbour `[n]`."""
    distances, rows = nearest(torch.cat([x, z], 1), k)
    radius = distances[:, -1]
    if variant == 1:
        n_x, n_z = (count_within(part, radius, strict=True) + 1 for part in (x, z))
    else:
        n_x, n_z = (count_within(part, _extent(part, rows), strict=False) for part in (x, z))
    mean = _psi(k) + _psi(len(x)) - (_psi(n_x) + _psi(n_z)).mean() - (variant - 1) / k
    return mean.item(), radius


def _labelled(z: Tensor, y: Tensor, k: int) -> tuple[float, Tensor, float]:
    """The estimate, each sample's distance to its k-th neighbour, and the largest value."""
    radius, own = torch.empty_like(z[:, 0]), torch.empty_like(y)
    for label in y.unique():
        same = y == label
        radius[same], own[same] = nearest(z[same], k)[0][:, -1], same.sum()
    near = count_within(z, radius, strict=False)
    ceiling = _psi(len(z)) - _psi(own).mean()
    return (ceiling + _psi(k) - _psi(near).mean()).item(), radius, ceiling.item()


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


def _typical(points: Tensor) -> Tensor:
    """Standard deviation of the typical column, constant ones left aside."""
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

    They are drawn by a hash of the values, so that the order of the samples does not matter.
    """
    mix = torch.arange(1, points.shape[1] + 1, device=points.device).to(points).sqrt()
    order = (points @ mix * 1e4).sin().mul(1e4).frac().argsort()
    if y is not None:
        order = order[y[order].argsort(stable=True)]
    count = min(_PARTS, most)
    return [order[first::count] for first in range(count)] if count > 1 else []


def _error(parts: list[float]) -> float:
    return standard_error(torch.tensor(parts)) if parts else math.nan


def _about(
    k: int, jitter: float, radius: Tensor, width: float, **variables: Tensor
) -> dict[str, Any]:
    duplicates = (radius == 0).double().mean().item()
    constant = {name: constant_columns(part) for name, part in variables.items()}
    flat = [name for name, part in variables.items() if constant[name] == part.shape[1]]
    ties = {name: _ties(part, k) for name, part in variables.items()}
    tied = max(ties, key=lambda name: ties[name])
    warning = None
    if duplicates:
        warning = (
            f"{duplicates:.1%} of the samples equal {k} others: there is no density to estimate; "
            "bin the code, or add jitter if it was rounded"
        )
    elif flat:
        warning = f"{' and '.join(flat)} is constant and has no density; it carries nothing"
    elif ties[tied] > _TIED:
        warning = (
            f"{tied} is rounded or discrete: {ties[tied]:.1%} of the samples equal {k} others in "
            "it; take ksg_relevance for labels, bin it, or add jitter"
        )
    elif width > _WIDE:
        warning = (
            f"neighbours lie {width:.3g} times as far as the density may be taken for constant: "
            "too many dimensions or too much information for so few samples; the estimate is low"
        )
    return {
        "bound": "none",
        "neighbours": k,
        "jitter": jitter,
        "duplicates": duplicates,
        "ties": ties[tied],
        "constant_columns": sum(constant.values()),
        "neighbourhood": width,
        "warning": warning,
    }


def _ties(part: Tensor, k: int) -> float:
    """Share of the samples of one variable that equal k others in it."""
    row = label_rows(part)
    return (torch.bincount(row)[row] > k).double().mean().item()


def _check_settings(k: int, jitter: float, n: int, variant: int = 1) -> None:
    if k < 1 or k >= n:
        raise InputError(f"k must be at least 1 and below the number of samples {n}, got {k}")
    if variant not in (1, 2):
        raise InputError(f"variant must be 1 or 2, got {variant}")
    if not (math.isfinite(jitter) and jitter >= 0):
        raise InputError(f"jitter must be finite and not negative, got {jitter}")
