"""A search around the points that attacks on other networks lead to.

    z = clip(x + project(move(x_adv - x))),   x_adv climbed on a guide,   the first z that fools

A defence can answer by a robust network nearly everywhere, and by a weak one at few places: at one
value of a pixel, in thin layers, on the grid of 8-bit images, or where a hash of the image says so.
An attack on the weak network ends at images at which that network is wrong, but the model is wrong
only at some of their neighbours. No score leads there, so that the neighbours are tried at random.

| move      | what becomes of the perturbation                                      |
|-----------|-----------------------------------------------------------------------|
| shaken    | uniform noise on every pixel, of eps / 1000 to eps / 4                |
| replaced  | one pixel of eight is drawn anew, uniformly from what it may be       |
| shortened | every pixel moves by a random share, of half at least                 |
| snapped   | shortened, and every pixel rounded to a value that the images have    |

Source: Carlini et al. (2019), arXiv 1902.06705, "Apply a diverse set of attacks"; the search is
this library's. Deviation from a search by scores: only predicted classes are used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.attacks.norms import per_image, project
from narrows.audit._base import Case
from narrows.audit._guided import guided_points
from narrows.models.noise import forked_rng
from narrows.models.outputs import logits_of

__all__ = ["levels_of", "search_around"]

_LEVELS = 256  # distinct values of pixels, at most, that make a grid
_MOST, _LEAST = 1 / 4, 1 / 1000  # of the radius, for noise
_REPLACED = 1 / 8
_SHORTEST = 1 / 2


def search_around(case: Case, view: str, *, loss: str = "margin", times: int = 1) -> int:
    """Attack what nothing has fooled yet around the points that a view leads to.

    Args:
        case: to be attacked. A stochastic model is not: one look at it decides nothing.
        view: whose loss is climbed, by `steps` steps of the budget.
        loss: `"margin"` or `"cross_entropy"`.
        times: neighbours of each point, in `queries` of the budget.

    Returns:
        At how many images the model was fooled.
    """
    guide, rows = case.view(view), case.survivors
    if guide is None or case.stochastic or not len(rows):
        return 0
    x_adv = guided_points(case, guide, rows, loss=loss)
    x_adv, passes = _neighbours(case, x_adv, rows, times * case.budget.queries)
    steps = len(rows) * case.budget.steps
    name = f"search around {loss} of {view}"
    fooled = case.offer(name, x_adv, rows, forwards=2 * steps + passes, backwards=steps)
    return int(fooled.sum())


def levels_of(x: Tensor) -> Tensor | None:
    """The values that pixels of images `x` have, in rising order; None if they form no grid."""
    levels = x.unique()
    return levels if 1 < len(levels) <= _LEVELS else None


def _neighbours(case: Case, x_adv: Tensor, rows: Tensor, count: int) -> tuple[Tensor, int]:
    """The first neighbour of each point `[b, ...]` at which the model is wrong, and the passes."""
    x, y, levels = case.x[rows], case.y[rows], levels_of(case.x)
    kept, passes = x_adv.clone(), 0
    left = torch.arange(len(rows), device=x.device)
    # Of another seed than that of the search before, so that no neighbour is tried twice.
    generator = case.generator().manual_seed(case.seed + len(case.ledger.entries))
    with forked_rng(x.device, case.seed), case.restored(), torch.no_grad():
        for number in range(count):
            tried = _moved(case, x[left], x_adv[left], number, levels, generator)
            wrong = logits_of(case.subject, tried).argmax(1) != y[left]
            passes += len(left)
            kept[left[wrong]] = tried[wrong]
            left = left[~wrong]
            if not len(left):
                break
    return kept, passes


def _moved(
    case: Case,
    x: Tensor,
    x_adv: Tensor,
    number: int,
    levels: Tensor | None,
    generator: torch.Generator,
) -> Tensor:
    """One neighbour of each of `x_adv: [b, ...]`, within the ball; the moves take turns."""
    chance = torch.rand((2, *x.shape), generator=generator, device=x.device).to(x.dtype)
    size = torch.rand(len(x), generator=generator, device=x.device).to(x.dtype)
    delta = x_adv - x
    # In L2 one pixel moves by eps / sqrt(d) when all of them do.
    per_pixel = case.eps if case.norm == "linf" else case.eps / x[0].numel() ** 0.5
    turn = number % (3 if levels is None else 4)
    if turn == 0:
        width = per_pixel * _LEAST * (_MOST / _LEAST) ** size
        delta = delta + per_image(width, x) * (2 * chance[0] - 1)
    elif turn == 1:
        low, high = ((x + sign * per_pixel).clamp(0, 1) for sign in (-1, 1))
        delta = torch.where(chance[1] < _REPLACED, low + (high - low) * chance[0] - x, delta)
    else:
        delta = delta * (1 - (1 - _SHORTEST) * per_image(size, x) * chance[0])
    moved = (x + project(delta, case.norm, case.eps)).clamp(0, 1)
    if turn < 3 or levels is None:
        return moved
    snapped = _snapped(moved, levels)
    return (x + project(snapped - x, case.norm, case.eps)).clamp(0, 1)


def _snapped(x: Tensor, levels: Tensor) -> Tensor:
    """Each pixel of `x` at the nearest of the rising `levels`."""
    above = torch.bucketize(x, levels).clamp(1, len(levels) - 1)
    low, high = levels[above - 1], levels[above]
    return torch.where(x - low <= high - x, low, high)
