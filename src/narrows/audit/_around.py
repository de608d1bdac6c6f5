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

Pixels by whose replacement one image fooled the model are then tried at all others.

Source: Carlini et al. (2019), arXiv 1902.06705, "Apply a diverse set of attacks"; the search is
this library's. Deviation from a search by scores: only predicted classes are used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.attacks.norms import per_image, project
from narrows.audit._base import Case
from narrows.audit._claim import per_pixel
from narrows.audit._guided import guided_points
from narrows.models.noise import forked_rng
from narrows.models.outputs import logits_of

__all__ = ["levels_of", "search_around"]

_LEVELS = 256  # distinct values of pixels, at most, that make a grid
_MOST, _LEAST = 1 / 4, 1 / 1000  # of the radius, for noise
_REPLACED = 1 / 8
_SHORTEST = 1 / 2
_SHAKE, _REPLACE, _SNAP = 0, 1, 3  # the moves' turns; shortening has the one between
_CHANGED = 1e-3  # of the radius, above which a pixel counts as replaced
_SHARED = 100  # replacements that fooled, at most, that are tried at all other images


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
    search = _Search(case, guided_points(case, guide, rows, loss=loss), rows)
    with forked_rng(case.x.device, case.seed), case.restored(), torch.no_grad():
        search.move_at_random(times * case.budget.queries)
        search.share_replacements()
    steps = len(rows) * case.budget.steps
    fooled = case.offer(
        f"search around {loss} of {view}",
        search.kept,
        rows,
        forwards=2 * steps + search.passes,
        backwards=steps,
    )
    return int(fooled.sum())


def levels_of(x: Tensor) -> Tensor | None:
    """The values that pixels of images `x` have, in rising order; None if they form no grid."""
    levels = x.unique()
    return levels if 1 < len(levels) <= _LEVELS else None


class _Search:
    """The neighbours of points that are tried, and the first of each at which the model is wrong.

    Args:
        case: whose model is asked.
        x_adv: `[b, ...]` points in the balls around the images `rows`.
        rows: `[b]`.
    """

    def __init__(self, case: Case, x_adv: Tensor, rows: Tensor) -> None:
        self.case, self.x, self.y = case, case.x[rows], case.y[rows]
        self.x_adv, self.kept = x_adv, x_adv.clone()
        self.left = torch.arange(len(rows), device=rows.device)
        self.passes = 0
        self.replacements: list[tuple[Tensor, Tensor]] = []

    def move_at_random(self, count: int) -> None:
        """Try `count` neighbours of each point, or until all have fooled the model."""
        case, levels = self.case, levels_of(self.case.x)
        # Of another seed than that of the search before, so that no neighbour is tried twice.
        generator = case.generator().manual_seed(case.seed + len(case.ledger.entries))
        for number in range(count):
            x_adv = self.x_adv[self.left]
            tried = _moved(case, self.x[self.left], x_adv, number, levels, generator)
            wrong = self._ask(tried)
            if _turn(number, levels) == _REPLACE:
                changed = (tried - x_adv).abs() > _CHANGED * case.eps
                self.replacements += zip(changed[wrong], tried[wrong], strict=True)
            if not len(self.left):
                break

    def share_replacements(self) -> None:
        """Try pixels that fooled the model at one image at all others: a key fits everywhere."""
        for changed, pixels in self.replacements[:_SHARED]:
            x = self.x[self.left]
            tried = torch.where(changed, pixels, self.x_adv[self.left])
            self._ask(x + project(tried - x, self.case.norm, self.case.eps))

    def _ask(self, tried: Tensor) -> Tensor:
        """Whether the model is wrong at a neighbour of each point that is left, `[left]` bool."""
        if not len(self.left):
            return torch.zeros_like(self.left, dtype=torch.bool)
        wrong = logits_of(self.case.subject, tried).argmax(1) != self.y[self.left]
        self.passes += len(self.left)
        self.kept[self.left[wrong]] = tried[wrong]
        self.left = self.left[~wrong]
        return wrong


def _turn(number: int, levels: Tensor | None) -> int:
    """Which of the moves the neighbour of this number is made by; snapping needs levels."""
    return number % (_SNAP if levels is None else _SNAP + 1)


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
    step = per_pixel(case)
    turn = _turn(number, levels)
    if turn == _SHAKE:
        width = step * _LEAST * (_MOST / _LEAST) ** size
        delta = delta + per_image(width, x) * (2 * chance[0] - 1)
    elif turn == _REPLACE:
        low, high = ((x + sign * step).clamp(0, 1) for sign in (-1, 1))
        delta = torch.where(chance[1] < _REPLACED, low + (high - low) * chance[0] - x, delta)
    else:
        delta = delta * (1 - (1 - _SHORTEST) * per_image(size, x) * chance[0])
    moved = (x + project(delta, case.norm, case.eps)).clamp(0, 1)
    if turn != _SNAP or levels is None:
        return moved
    snapped = _snapped(moved, levels)
    return (x + project(snapped - x, case.norm, case.eps)).clamp(0, 1)


def _snapped(x: Tensor, levels: Tensor) -> Tensor:
    """Each pixel of `x` at the nearest of the rising `levels`."""
    above = torch.bucketize(x, levels).clamp(1, len(levels) - 1)
    low, high = levels[above - 1], levels[above]
    return torch.where(x - low <= high - x, low, high)
