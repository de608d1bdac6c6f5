"""Newton's method on the clusters of a bottleneck: p(z) and p(y|z) at once, quadratic at the end.

    maximise Phi = sum_x p(x) log sum_z w_z exp(-t d(x, q_z)) - sum_z w_z

Its maximum has sum_z w_z = 1 and is the optimum at t = 1/beta among codes of that many clusters.
The unknowns are w and the logits of q. With r(x,z) = p(x) p(z|x), the gradient is sum_x r / w - 1
and t sum_x r (p(y|x) - q): the steps of Blahut-Arimoto, which are small wherever clusters split or
merge; there the curvature is small too, and Newton's are not. Phi is concave in w, and a weight
that a step would make negative becomes 0: clusters that are not wanted go at once. In q it need not
be; along eigenvectors with the wrong sign of the curvature the step is turned uphill. A step that
does not rise is halved, and where that does not help either, one of Blahut-Arimoto is made.

The bottlenecks of all betas are solved at once, each with steps of its own length, and leave when
they stand still.
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
    """Clusters, and there: Phi `[B]`, p(z|x) `[B, X, Z]`, the gradient, the largest slope `[B]`."""

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
        """Without places that no code uses, where these are many."""
        used = self.clusters.w > 0
        most = int(used.sum(1).max())
        if most > _FULL * used.shape[1]:
            return self
        order = used.int().argsort(dim=1, descending=True, stable=True)[:, :most, None]
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
    """Better clusters, as many as came; and the steps made `[B]`.

    Those nearer to each other than `tolerance` are merged every few steps.
    """
    result, width = merge(clusters, t, tolerance), clusters.w.shape[1]
    made = torch.zeros(len(t), dtype=torch.int64)
    rows = torch.arange(len(t))
    here = _look(source, t, result)
    for step in range(1, steps + 1):
        moving = here.slope > _STANDSTILL
        here, rows = here.take(moving), rows[moving]
        if not len(rows):
            break
        there, moved = _step(source, t[rows], here)
        result.put(rows, pad(there.clusters, width))
        made[rows] += 1
        here, rows = there.take(moved), rows[moved]
        if not len(rows):
            break
        if step % _MERGE_EVERY == 0:
            merged = merge(here.clusters, t[rows], tolerance)
            here = _look(source, t[rows], merged)
            result.put(rows, pad(merged, width))
        here = here.trim()
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


def _step(source: Source, t: Tensor, here: _View) -> tuple[_View, Tensor]:
    """One step uphill, and which did rise: `[B]` bool."""
    direction = _direction(source, t, here)
    # Where weights can replace each other, a step is far too long: then until the first is 0.
    first = direction[..., 0].amin(1).neg().clamp_min(1).reciprocal()
    best, risen = here.copy(), torch.zeros_like(t, dtype=torch.bool)
    rows = torch.arange(len(t))
    for halving in range(_HALVINGS + 1):
        old = here.take(rows)
        if halving < _HALVINGS:
            length = (4 * first[rows]).clamp_max(1) if halving > 1 else torch.ones_like(t[rows])
            length = length / 2**halving
            new = _move(old.clusters, length[:, None, None] * direction[rows])
        else:
            new = update(source, old.encoder, old.clusters)
        there = _look(source, t[rows], new)
        rise, noise = there.height - old.height, _NOISE * (1 + old.height.abs())
        # Where a rise drowns in rounding, a flatter place will do.
        good = (rise > noise) | ((rise >= -noise) & (there.slope < old.slope))
        best.put(rows[good], there.take(good))
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


def _direction(source: Source, t: Tensor, here: _View) -> Tensor:
    """Newton's step `[B, Z, 1 + free]`, relative in w."""
    unknowns, rows = here.gradient[0].numel(), len(source.p_x)
    # The step by rows goes farther, and costs more where rows are many or unknowns few.
    by_unknowns = unknowns <= rows and (unknowns <= _FEW or 4 * unknowns <= rows)
    newton = step_by_unknowns if by_unknowns else step_by_rows
    step = newton(source, t, here.clusters, here.encoder, here.gradient)
    if by_unknowns:
        # A class that a cluster is losing has a logit without end, which must not hold up all
        # others: steps are shortened alike tenfold at most, then each on its own.
        longest = step[..., 1:].abs().amax((1, 2)).clamp(_LONGEST, 10 * _LONGEST)
        step *= (_LONGEST / longest)[:, None, None]
    step[..., 1:].clamp_(-_LONGEST, _LONGEST)
    return _leave_faces(t, here, step) if source.p_y.shape[1] > 2 else step


def _leave_faces(t: Tensor, here: _View, step: Tensor) -> Tensor:
    """Where the update of Blahut and Arimoto takes a class away at once, do as it does.

    Newton's logit of such a class falls by about 1 a step.
    """
    q = here.clusters.q
    r = (here.clusters.w + here.gradient[..., 0]).clamp_min(_TINY)
    mean = q + here.gradient[..., 1:] / (t[:, None] * r)[..., None]
    fall = (mean.clamp_min(_TINY) / q).log().clamp_min(-_DEEPEST)
    lost = (fall < -1) & (here.clusters.w > 0)[..., None]
    step[..., 1:] = torch.where(lost, torch.minimum(step[..., 1:], fall), step[..., 1:])
    return step
