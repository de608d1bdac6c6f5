"""Newton's method on the clusters of a bottleneck: p(z) and p(y|z) at once, quadratic at the end.

    maximise Phi = sum_x p(x) log sum_z w_z exp(-t d(x, q_z)) - sum_z w_z

Its maximum has sum_z w_z = 1 and is the optimum at t = 1/beta among codes of that many clusters.
The unknowns are w and the logits of q. With r(x,z) = p(x) p(z|x), the gradient is sum_x r / w - 1
and t sum_x r (p(y|x) - q). These are the steps of Blahut-Arimoto, which are small wherever clusters
split or merge. The curvature is small there too, so that Newton's steps are not.

Phi is concave in w, and a weight that a step would make negative becomes 0: unneeded clusters
vanish at once. In q it need not be concave: along eigenvectors with a wrong sign of the curvature
the step is turned uphill. A step that does not increase Phi is halved, and replaced by one of
Blahut-Arimoto if that does not help either. The bottlenecks of all betas are solved at once, each
with its own step lengths, until each has converged.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from narrows.information._clusters import Clusters, log_terms, logits_of, merge, pad, update
from narrows.information._curvature import free, step_by_rows, step_by_unknowns
from narrows.information._joint import Source

__all__ = ["climb"]

_TINY = 1e-300
_LONGEST = 3.0
_DEEPEST = 40.0
_MERGE_EVERY = 4
_HALVINGS = 8
_STANDSTILL = 1e-12
_NOISE = 4e-15
_NONE = 1e-12
_FULL = 0.7
_FEW = 24


class _View(NamedTuple):
    """Clusters with Phi `[B]`, p(z|x) `[B, X, Z]`, the gradient, the largest slope `[B]`."""

    clusters: Clusters
    height: Tensor
    encoder: Tensor
    gradient: Tensor
    slope: Tensor

    def take(self, rows: Tensor) -> _View:
        return _View(self.clusters.take(rows), *(part[rows] for part in self[1:]))

    def put(self, rows: Tensor, other: _View) -> None:
        self.clusters.put(rows, other.clusters)
        for part, new in zip(self[1:], other[1:], strict=True):
            part[rows] = new

    def trim(self) -> _View:
        """Drop the places that no code uses, if there are many."""
        used = self.clusters.w > 0
        width = int(used.sum(1).max())
        if width > _FULL * used.shape[1]:
            return self
        order = used.int().argsort(dim=1, descending=True, stable=True)[:, :width, None]
        w, logits = self.clusters
        return _View(
            Clusters(w.take_along_dim(order[..., 0], 1), logits.take_along_dim(order, 1)),
            self.height,
            self.encoder.take_along_dim(order.mT, 2),
            self.gradient.take_along_dim(order, 1),
            self.slope,
        )

    def copy(self) -> _View:
        return self.take(torch.arange(len(self.height)))


def climb(
    source: Source, t: Tensor, clusters: Clusters, tolerance: float, steps: int
) -> tuple[Clusters, Tensor]:
    """Improve clusters by Newton's method.

    Args:
        source: p(x) and p(y|x).
        t: `[B]`, 1/beta.
        clusters: where to begin; the result has at most as many.
        tolerance: clusters nearer to each other than this, in units of their reach, are merged
            every few steps.
        steps: the largest number of steps.

    Returns:
        The clusters, and the number of steps made `[B]`.
    """
    result, width = merge(clusters, t, tolerance), clusters.w.shape[1]
    made = torch.zeros(len(t), dtype=torch.int64)
    rows = torch.arange(len(t))
    view = _look(source, t, result)
    for step in range(1, steps + 1):
        moving = view.slope > _STANDSTILL
        view, rows = view.take(moving), rows[moving]
        if not len(rows):
            break
        moved_view, moved = _step(source, t[rows], view)
        result.put(rows, pad(moved_view.clusters, width))
        made[rows] += 1
        view, rows = moved_view.take(moved), rows[moved]
        if not len(rows):
            break
        if step % _MERGE_EVERY == 0:
            merged = merge(view.clusters, t[rows], tolerance)
            view = _look(source, t[rows], merged)
            result.put(rows, pad(merged, width))
        view = view.trim()
    return merge(result, t, tolerance), made


def _look(source: Source, t: Tensor, clusters: Clusters) -> _View:
    terms = log_terms(source, t, clusters)
    log_l = terms.logsumexp(2)
    encoder = terms.sub_(log_l[..., None]).exp_()
    height = log_l @ source.p_x - clusters.w.sum(1)
    joint = encoder * source.p_x[:, None]
    r = joint.sum(1)
    w, moving = clusters.w, free(source.p_y.shape[1])
    pull = joint.mT @ source.p_y[:, moving] - r[..., None] * clusters.q[..., moving]
    gradient = torch.cat([(r - w)[..., None], t[:, None, None] * pull], 2)
    scale = w.clamp_min(_TINY) * torch.where(w > 0, 1.0, torch.inf)
    off = torch.cat([gradient[..., :1], pull], 2).abs() / scale[..., None]
    return _View(clusters, height, encoder, gradient, off.amax((1, 2)))


def _step(source: Source, t: Tensor, view: _View) -> tuple[_View, Tensor]:
    """One step uphill, and which codes it improved: `[B]` bool."""
    direction = _direction(source, t, view)
    # Where weights can replace each other, a step is far too long: it ends where the first is 0.
    first = direction[..., 0].amin(1).neg().clamp_min(1).reciprocal()
    best, risen = view.copy(), torch.zeros_like(t, dtype=torch.bool)
    rows = torch.arange(len(t))
    for halving in range(_HALVINGS + 1):
        old = view.take(rows)
        if halving < _HALVINGS:
            length = (4 * first[rows]).clamp_max(1) if halving > 1 else torch.ones_like(t[rows])
            length = length / 2**halving
            new = _move(old.clusters, length[:, None, None] * direction[rows])
        else:
            new = update(source, old.encoder, old.clusters)
        new_view = _look(source, t[rows], new)
        rise, noise = new_view.height - old.height, _NOISE * (1 + old.height.abs())
        # Where rounding hides an increase, a smaller slope counts as one.
        good = (rise > noise) | ((rise >= -noise) & (new_view.slope < old.slope))
        best.put(rows[good], new_view.take(good))
        risen[rows[good]] = True
        rows = rows[~good]
        if not len(rows):
            break
    return best, risen


def _move(clusters: Clusters, step: Tensor) -> Clusters:
    left = 1 + step[..., 0]
    w = clusters.w * torch.where(left > _NONE, left, 0)
    logits = clusters.logits.clone()
    logits[..., logits.shape[2] - step.shape[2] + 1 :] += step[..., 1:]
    return Clusters(w, logits_of(logits))


def _direction(source: Source, t: Tensor, view: _View) -> Tensor:
    """Newton's step `[B, Z, 1 + free]`, relative in w."""
    unknowns, rows = view.gradient[0].numel(), len(source.p_x)
    # The step by rows makes more progress, and costs more if rows are many or unknowns few.
    by_unknowns = unknowns <= rows and (unknowns <= _FEW or 4 * unknowns <= rows)
    newton = step_by_unknowns if by_unknowns else step_by_rows
    step = newton(source, t, view.clusters, view.encoder, view.gradient)
    if by_unknowns:
        # The logit of a class that a cluster is losing falls without end and must not slow down all
        # others: steps are shortened together at most tenfold, and then one by one.
        longest = step[..., 1:].abs().amax((1, 2)).clamp(_LONGEST, 10 * _LONGEST)
        step *= (_LONGEST / longest)[:, None, None]
    step[..., 1:].clamp_(-_LONGEST, _LONGEST)
    return _leave_faces(t, view, step) if source.p_y.shape[1] > 2 else step


def _leave_faces(t: Tensor, view: _View, step: Tensor) -> Tensor:
    """Where an update of Blahut-Arimoto removes a class from a cluster at once, do as it does.

    In Newton's step the logit of such a class falls only by about 1.
    """
    q = view.clusters.q
    r = (view.clusters.w + view.gradient[..., 0]).clamp_min(_TINY)
    mean = q + view.gradient[..., 1:] / (t[:, None] * r)[..., None]
    fall = (mean.clamp_min(_TINY) / q).log().clamp_min(-_DEEPEST)
    lost = (fall < -1) & (view.clusters.w > 0)[..., None]
    step[..., 1:] = torch.where(lost, torch.minimum(step[..., 1:], fall), step[..., 1:])
    return step
