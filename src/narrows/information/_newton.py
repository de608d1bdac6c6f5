"""Newton's method on the clusters of a bottleneck: p(z) and p(y|z) at once, quadratic at the end.

    maximise Phi = sum_x p(x) log sum_z w_z exp(-t d(x, q_z)) - sum_z w_z

Its maximum has sum_z w_z = 1 and is the optimum at t = 1/beta among codes of that many clusters.
The unknowns are log w and the logits of q, so that nothing leaves the simplex. With r(x,z) = p(x)
p(z|x), the gradient is sum_x r - w and t sum_x r (p(y|x) - q): the steps of Blahut-Arimoto, which
are small wherever clusters split or merge; there the curvature is small too, and Newton's are not.

Clusters that are empty or the same are merged first; they would make the curvature singular.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from narrows.information._certificate import divergences
from narrows.information._joint import Source

__all__ = ["climb"]

_TINY = 1e-300
_EMPTY = 1e-14
_SAME = 1e-7
_LONGEST = 2.0
_HALVINGS = 30
_STANDSTILL = 1e-13
_NOISE = 1e-13


class _Point(NamedTuple):
    """log w `[Z]` and logits of q `[Z, Y - 1]`, the last class's being 0."""

    log_w: Tensor
    logits: Tensor

    @property
    def q(self) -> Tensor:
        last = torch.zeros_like(self.log_w)[:, None]
        return torch.cat([self.logits, last], 1).softmax(1)

    def move(self, step: Tensor) -> _Point:
        step = step.reshape(len(self.log_w), -1)
        return _Point(self.log_w + step[:, 0], self.logits + step[:, 1:])


def climb(source: Source, t: Tensor, clusters: Tensor, steps: int) -> tuple[Tensor, int]:
    """Better `clusters: [Z, 1 + Y]`, p(z) and p(y|z), as many as came; and the steps made."""
    kept = _merge(clusters)
    log_q = kept[:, 1:].clamp_min(_TINY).log()
    point = _Point(kept[:, 0].log(), log_q[:, :-1] - log_q[:, -1:])
    here = _look(source, t, point)
    made = 0
    while made < steps and here.slope > _STANDSTILL:
        made += 1
        found = _line_search(source, t, here, _direction(here.gradient, here.curvature))
        if found is None:
            break
        here = found
    point = here.point
    w = point.log_w.exp()
    better = torch.cat([(w / w.sum())[:, None], point.q], 1)
    return _fill(better, len(clusters)), made


class _View(NamedTuple):
    """Phi at a point, its gradient, negative Hessian, and largest relative slope."""

    point: _Point
    height: Tensor
    gradient: Tensor
    curvature: Tensor
    slope: float


def _look(source: Source, t: Tensor, point: _Point) -> _View:
    """Phi and its derivatives, one block of unknowns a cluster."""
    terms = point.log_w - t * divergences(source.p_y, point.q)
    encoder = terms.softmax(1)
    w, q = point.log_w.exp(), point.q[:, :-1]
    height = source.p_x @ terms.logsumexp(1) - w.sum()
    # How each x's terms move with the unknowns of each cluster: [X, Z, Y].
    pull = t * (source.p_y[:, None, :-1] - q)
    moves = torch.cat([torch.ones_like(pull[..., :1]), pull], 2)
    joint = source.p_x[:, None] * encoder
    gradient = torch.einsum("xz,xza->za", joint, moves)
    gradient[:, 0] -= w
    mean = (encoder[..., None] * moves).flatten(1)
    curvature = mean.T @ (source.p_x[:, None] * mean)
    blocks = -torch.einsum("xz,xza,xzb->zab", joint, moves, moves)
    blocks[:, 0, 0] += w
    spread = torch.diag_embed(q) - q[:, :, None] * q[:, None]
    blocks[:, 1:, 1:] += t * joint.sum(0)[:, None, None] * spread
    curvature += torch.block_diag(*blocks)
    slope = (gradient.abs().amax(1) / w).max().item()
    return _View(point, height, gradient.flatten(), curvature, slope)


def _direction(gradient: Tensor, curvature: Tensor) -> Tensor:
    """Newton's step, uphill also where the curvature points the wrong way, and not too long."""
    values, vectors = torch.linalg.eigh(curvature)
    floor = values.abs().max() * 1e-15
    step = vectors @ ((vectors.T @ gradient) / values.abs().clamp_min(floor + _TINY))
    return step * (_LONGEST / step.abs().max().clamp_min(_LONGEST))


def _line_search(source: Source, t: Tensor, here: _View, step: Tensor) -> _View | None:
    """The first of the step, its half, ... that is higher, or as high and flatter."""
    # Where the rise that the slope promises drowns in rounding, shorter steps promise less.
    visible = here.gradient @ step > _NOISE
    for halving in range(_HALVINGS if visible else 1):
        there = _look(source, t, here.point.move(step / 2**halving))
        rise = there.height - here.height
        if rise > _NOISE or (rise > -_NOISE and there.slope < here.slope):
            return there
    return None


def _merge(clusters: Tensor) -> Tensor:
    """Leave out empty clusters and join equal ones, heaviest first."""
    kept: list[Tensor] = []
    for cluster in clusters[clusters[:, 0].argsort(descending=True)]:
        if cluster[0] < _EMPTY:
            continue
        for i, other in enumerate(kept):
            if (cluster[1:] - other[1:]).abs().max() < _SAME:
                share = cluster[0] / (cluster[0] + other[0])
                q = torch.lerp(other[1:], cluster[1:], share)
                kept[i] = torch.cat([(cluster[0] + other[0])[None], q])
                break
        else:
            kept.append(cluster)
    return torch.stack(kept)


def _fill(clusters: Tensor, count: int) -> Tensor:
    """Add empty copies of the first cluster up to `count`."""
    spare = clusters[:1].repeat(count - len(clusters), 1)
    spare[:, 0] = 0
    return torch.cat([clusters, spare])
