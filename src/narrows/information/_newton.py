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

from narrows.information._clusters import Clusters, log_terms, merge, update
from narrows.information._joint import Source

__all__ = ["climb"]

_TINY = 1e-300
_LONGEST = 3.0
_MERGE_EVERY = 4
_HALVINGS = 8
_FLAT = 1e-12
_STANDSTILL = 1e-12
_NOISE = 4e-15


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

    def copy(self) -> _View:
        return self.take(torch.arange(len(self.height)))


def climb(
    source: Source, t: Tensor, clusters: Clusters, tolerance: float, steps: int
) -> tuple[Clusters, Tensor]:
    """Better clusters, as many as came; and the steps made `[B]`.

    Those nearer to each other than `tolerance` are merged every few steps.
    """
    result = merge(clusters, t, tolerance)
    made = torch.zeros(len(t), dtype=torch.int64)
    rows = torch.arange(len(t))
    here = _look(source, t, result)
    for step in range(1, steps + 1):
        moving = here.slope > _STANDSTILL
        here, rows = here.take(moving), rows[moving]
        if not len(rows):
            break
        there, moved = _step(source, t[rows], here)
        result.put(rows, there.clusters)
        made[rows] += 1
        here, rows = there.take(moved), rows[moved]
        if step % _MERGE_EVERY == 0 and len(rows):
            merged = merge(here.clusters, t[rows], tolerance)
            here = _look(source, t[rows], merged)
            result.put(rows, merged)
    return merge(result, t, tolerance), made


def _look(source: Source, t: Tensor, clusters: Clusters) -> _View:
    terms = log_terms(source, t, clusters)
    log_l = terms.logsumexp(2)
    encoder = terms.sub_(log_l[..., None]).exp_()
    height = log_l @ source.p_x - clusters.w.sum(1)
    joint = encoder * source.p_x[:, None]
    r = joint.sum(1)
    own, q = clusters.w, clusters.q[..., 1:]
    pull = t[:, None, None] * (joint.mT @ source.p_y[:, 1:] - r[..., None] * q)
    gradient = torch.cat([(r - own)[..., None], pull], 2)
    scale = own.clamp_min(_TINY) * torch.where(own > 0, 1.0, torch.inf)
    off = gradient.abs() / scale[..., None]
    off[..., 1:] /= t[:, None, None]
    return _View(clusters, height, encoder, gradient, off.amax((1, 2)))


def _step(source: Source, t: Tensor, here: _View) -> tuple[_View, Tensor]:
    """One step uphill, and which did rise: `[B]` bool."""
    direction = _direction(source, t, here)
    best, risen = here.copy(), torch.zeros_like(t, dtype=torch.bool)
    rows = torch.arange(len(t))
    for halving in range(_HALVINGS + 1):
        old = here.take(rows)
        if halving < _HALVINGS:
            new = _move(old.clusters, direction[rows] / 2**halving)
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
    return Clusters(clusters.w * (1 + step[..., 0]).clamp_min(0), clusters.logits + step[..., 1:])


def _direction(source: Source, t: Tensor, here: _View) -> Tensor:
    """Newton's step `[B, Z, Y]`, relative in w; uphill also where the curvature is wrong."""
    curvature = _curvature(source, t, here)
    diagonal = curvature.diagonal(dim1=1, dim2=2)
    empty = (here.clusters.w <= 0).repeat_interleave(here.gradient.shape[2], 1)
    scale = torch.where(empty, 1.0, diagonal.abs().clamp_min(_TINY).rsqrt())
    curvature = scale[:, None] * curvature * scale[..., None] + torch.diag_embed(empty.double())
    gradient = (scale * here.gradient.flatten(1))[..., None]
    root, failed = torch.linalg.cholesky_ex(curvature)
    step = torch.cholesky_solve(gradient, root)
    if failed.any():
        values, vectors = torch.linalg.eigh(curvature[failed > 0])
        along = vectors.mT @ gradient[failed > 0] / values.abs().clamp_min(_FLAT)[..., None]
        step[failed > 0] = vectors @ along
    step = (scale * step[..., 0]).unflatten(1, here.gradient.shape[1:])
    # A class that a cluster is losing has a logit without end, which must not hold up all others:
    # steps are shortened alike tenfold at most, then each on its own.
    longest = step[..., 1:].abs().amax((1, 2)).clamp(_LONGEST, 10 * _LONGEST)
    step *= (_LONGEST / longest)[:, None, None]
    step[..., 1:].clamp_(-_LONGEST, _LONGEST)
    return step


def _curvature(source: Source, t: Tensor, here: _View) -> Tensor:
    """Minus the second derivatives in (log w, logits) without those of log w itself."""
    q, p_y = here.clusters.q[..., 1:], source.p_y[:, 1:]
    t = t[:, None, None]
    joint = here.encoder * source.p_x[:, None]
    r = joint.sum(1)
    pull = t[..., None] * (p_y[:, None] - q[:, None])
    root = source.p_x.sqrt()[:, None] * here.encoder
    mean = torch.cat([root[..., None], root[..., None] * pull], 3).flatten(2)
    curvature = mean.mT @ mean
    # Of the blocks of one cluster each: what the spread of p(y|x) within it takes off. Phi is
    # concave in w; the curvature of the logarithm, which vanishes at the end, is left out.
    of_w = here.gradient[..., 1:]
    square = (joint.mT @ (p_y[:, :, None] * p_y[:, None]).flatten(1)).unflatten(2, q.shape[2:] * 2)
    centre = (joint.mT @ p_y)[..., None] * q[..., None, :]
    outer = q[..., :, None] * q[..., None, :]
    within = square - centre - centre.mT + r[..., None, None] * outer
    own = t[..., None] * r[..., None, None] * (torch.diag_embed(q) - outer)
    own -= t[..., None] ** 2 * within
    z, y = r.shape[1], here.gradient.shape[2]
    diagonal = curvature.unflatten(2, (z, y)).unflatten(1, (z, y)).diagonal(dim1=1, dim2=3)
    diagonal[:, 0, 1:] -= of_w.mT
    diagonal[:, 1:, 0] -= of_w.mT
    diagonal[:, 1:, 1:] += own.permute(0, 2, 3, 1)
    return curvature
