"""What the nearest neighbours of the samples say of an estimate that is made of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from narrows.information._checks import constant_columns
from narrows.information.discrete import label_rows

__all__ = ["diagnose"]

# Where correlated Gaussians of 1 to 10 dimensions and 300 to 10,000 samples lost a tenth.
_WIDE = 0.8
# Of independent normals of which one was rounded, this share of ties was worth two errors.
_TIED = 0.05
# Where codes of 4 to 8 noisy bits and 200 to 1,000 samples were off by a tenth.
_ALONE = 0.08


def diagnose(
    settings: dict[str, Any],
    radius: Tensor,
    inside: Tensor | None,
    width: float,
    **variables: Tensor,
) -> dict[str, Any]:
    """The diagnostics of `ksg` and `ksg_relevance`.

    Args:
        settings: of the estimate, `neighbours` among them.
        radius: `[n]`, distances to the k-th neighbours.
        inside: `[n]`, how many are nearer, itself among them; None where that is k for all.
        width: the median distance in units of the width of the density.
        variables: `[n, D]` each, by their names.
    """
    k = settings["neighbours"]
    constant = {name: constant_columns(part) for name, part in variables.items()}
    ties = {name: _ties(part, k) for name, part in variables.items()}
    diagnostics = {
        "bound": "none",
        **settings,
        "duplicates": (radius == 0).double().mean().item(),
        "ties": max(ties.values()),
        "constant_columns": sum(constant.values()),
        "neighbourhood": width,
    }
    if inside is not None:
        diagnostics["alone"] = (inside == 1).double().mean().item()
    flat = [name for name, part in variables.items() if constant[name] == part.shape[1]]
    warning = _warning(diagnostics, flat, max(ties, key=lambda name: ties[name]))
    return diagnostics | {"warning": warning}


def _ties(part: Tensor, k: int) -> float:
    """Share of the samples of one variable that equal k others in it."""
    row = label_rows(part)
    return (torch.bincount(row)[row] > k).double().mean().item()


def _warning(diagnostics: dict[str, Any], flat: list[str], tied: str) -> str | None:
    k, width = diagnostics["neighbours"], diagnostics["neighbourhood"]
    duplicates, ties = diagnostics["duplicates"], diagnostics["ties"]
    of_density = "alone" not in diagnostics
    if flat:
        return f"{' and '.join(flat)} is constant and carries nothing: the information is 0"
    if not of_density and diagnostics["alone"] > _ALONE:
        return (
            f"{diagnostics['alone']:.1%} of the samples share their values with nobody: too many "
            "different values for so few samples"
        )
    if of_density and duplicates:
        return (
            f"{duplicates:.1%} of the samples equal {k} others: there is no density to estimate; "
            "take the variant 'mixture'"
        )
    if of_density and ties > _TIED:
        return (
            f"{tied} is rounded or discrete: {ties:.1%} of the samples equal {k} others in it; "
            "take the variant 'mixture'"
        )
    if width > _WIDE:
        return (
            f"neighbours lie {width:.3g} times as far as the density may be taken for constant: "
            "too many dimensions or too much information for so few samples; the estimate is low"
        )
    return None
