"""Which views of a model help, found by trying them on a few images, not by reading its code.

Each candidate is climbed on up to 16 images that nothing has fooled yet, 8 of a model that draws
noise, by a short attack on the margin. What counts is at how many of them the model itself is then
wrong, within the radius, and where no candidate gets any, within twice the radius. The two that
help most are returned.

Source: Tramer et al. (2020), arXiv 2002.08347: an attack must be adapted to the defence. Here the
choice is made by results alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.audit._base import Case
from narrows.audit._claim import gray_radius
from narrows.errors import InputError

__all__ = ["CANDIDATES", "helpful_views"]

CANDIDATES = (
    *("plain", "leaky", "smoothed", "wide_smoothed"),
    *("narrow_differences", "finite_differences", "wide_differences"),
    *("votes", "wide_votes", "borrowed"),
)

_IMAGES = 16
_NOISY_IMAGES = 8
_STEPS = 10
_KEPT = 2


def helpful_views(case: Case, through: str = "plain") -> dict[str, int]:
    """The views that help most, and at how many images of the trial each did.

    Args:
        case: whose images are tried that nothing has fooled yet.
        through: views that come before each candidate, such as `"fixed_noise"`.
    """
    rows = case.survivors[: _NOISY_IMAGES if case.stochastic else _IMAGES]
    names = {name: name if through == "plain" else f"{through}+{name}" for name in CANDIDATES}
    if through != "plain":
        names["plain"] = through
    radii = [radius for radius in (case.eps, 2 * case.eps) if radius <= gray_radius(case)]
    for radius in radii or [case.eps]:
        helped = {
            name: count
            for name in names.values()
            if (count := int(_fooled(case, name, rows, radius).sum()))
        }
        if helped:
            best = sorted(helped, key=lambda name: -helped[name])[:_KEPT]
            return {name: helped[name] for name in best}
    return {}


def _fooled(case: Case, view: str, rows: Tensor, radius: float) -> Tensor:
    """`[b]` bool, whether a short attack through a view fools the model; nothing is entered."""
    victim = case.view(view)
    none = torch.zeros_like(rows, dtype=torch.bool)
    if victim is None:
        return none
    steps = min(_STEPS, case.budget.steps)
    attack = case.pgd(loss="margin", eps=radius, steps=steps, chunk=128)
    x, dtype = case.x[rows], getattr(victim, "dtype", None)
    try:
        with case.restored():
            x_adv = attack(victim, x.to(dtype or x.dtype), case.y[rows]).x_adv
    except InputError:
        return none
    return case.wrong(x_adv.to(x.dtype), rows)
