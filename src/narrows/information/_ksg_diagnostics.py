"""Diagnostics of nearest-neighbour estimates, and when to warn of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.information._checks import constant_columns
from narrows.information.discrete import label_rows

__all__ = ["Settings", "diagnose"]

# At this width, correlated Gaussians of 1 to 10 dimensions and 300 to 10,000 samples lost a tenth.
_WIDE = 0.8
# With this share of ties, independent normals of which one was rounded were off by two errors.
_TIED = 0.05
# At this share, codes of 4 to 8 noisy bits and 200 to 1,000 samples were off by a tenth.
_ALONE = 0.08
# Of correlated log-normal variables whose middle is narrower than this, a sixth was lost or more.
_NARROW = 0.05
_FEW_VALUES = 20
_TO_DEVIATION = 0.6745  # median distance from the median, of a normal variable of deviation 1


class Settings(NamedTuple):
    """How an estimate was made, as its diagnostics say."""

    neighbours: int
    variant: str | int
    scaling: str
    jitter: float


def diagnose(
    settings: Settings,
    radius: Tensor,
    inside: Tensor | None,
    width: float,
    **variables: Tensor,
) -> dict[str, str | float | None]:
    """The diagnostics of `ksg` and `ksg_relevance`.

    Args:
        settings: of the estimate.
        radius: `[n]`, distances to the k-th neighbours.
        inside: `[n]`, how many samples are nearer, each itself among them; None where that is k for
            all.
        width: the median distance in units of the width of the density.
        variables: `[n, D]` each, by their names.
    """
    k = settings.neighbours
    constant = {name: constant_columns(part) for name, part in variables.items()}
    ties = {name: _ties(part, k) for name, part in variables.items()}
    duplicates = (radius == 0).double().mean().item()
    alone = None if inside is None else (inside == 1).double().mean().item()
    flat = [name for name, part in variables.items() if constant[name] == part.shape[1]]
    if flat:
        warning = f"{' and '.join(flat)} is constant and carries nothing: the information is 0"
    else:
        warning = _of_values(alone, duplicates, ties, k)
        warning = warning or (alone is None and _of_repeats(variables)) or None
        warning = warning or _of_units(settings.scaling, variables) or _of_width(width)
    return {
        "bound": "none",
        **settings._asdict(),
        "duplicates": duplicates,
        "ties": max(ties.values()),
        "constant_columns": sum(constant.values()),
        "neighbourhood": width,
        **({} if alone is None else {"alone": alone}),
        "warning": warning,
    }


def _ties(part: Tensor, k: int) -> float:
    """Share of the samples of one variable that equal k others in it."""
    row = label_rows(part)
    return (torch.bincount(row)[row] > k).double().mean().item()


def _of_values(
    alone: float | None, duplicates: float, ties: dict[str, float], k: int
) -> str | None:
    """What equal values say against an estimate for densities, and their lack against one without.

    `alone` is None where the estimate is one for densities.
    """
    tied = max(ties, key=lambda name: ties[name])
    if alone is not None:
        if alone <= _ALONE:
            return None
        return (
            f"{alone:.1%} of the samples have values that no other sample has: too many different "
            "values for so few samples"
        )
    if duplicates:
        return (
            f"{duplicates:.1%} of the samples equal {k} others: there is no density to estimate; "
            "take the variant 'mixture'"
        )
    if ties[tied] > _TIED:
        return (
            f"{tied} is rounded or discrete: {ties[tied]:.1%} of the samples equal {k} others in "
            "it; take the variant 'mixture'"
        )
    return None


def _of_repeats(variables: Mapping[str, Tensor]) -> str | None:
    """What samples that occur more than once say against an estimate for densities."""
    row = label_rows(torch.cat([*variables.values()], 1))
    repeated = (torch.bincount(row)[row] > 1).double().mean().item()
    if repeated <= _TIED:
        return None
    return (
        f"{repeated:.1%} of the samples occur more than once, and repeats look like information; "
        "leave them out"
    )


def _of_units(scaling: str, variables: Mapping[str, Tensor]) -> str | None:
    """What a column says whose standard deviation is that of a few values far out."""
    if scaling not in ("columns", "vectors"):
        return None
    for name, part in variables.items():
        for column in part.T if sum(other.shape[1] for other in variables.values()) > 1 else ():
            # Atoms count once: most values of a rectified code are 0.
            values = column.unique()
            if len(values) < _FEW_VALUES:
                continue
            middle = (values - values.median()).abs().median() / _TO_DEVIATION
            share = (middle / column.std()).item()
            if share < _NARROW:
                return (
                    f"a column of {name} has a few values so far out that the others lie within "
                    f"{share:.1%} of its standard deviation; take scaling='ranks'"
                )
    return None


def _of_width(width: float) -> str | None:
    if width <= _WIDE:
        return None
    return (
        f"neighbours lie {width:.3g} times as far as the density may be taken for constant: too "
        "many dimensions or too much information for so few samples; the estimate is low"
    )
