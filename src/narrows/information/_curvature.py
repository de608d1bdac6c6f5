"""Newton's step on the clusters of a bottleneck, from the smallest linear system that gives it.

    (E + M'M) s = g,   M[x, z] = sqrt p(x) p(z|x) [1, t (p(y|x) - q_z)]

g is the gradient of Phi (`_newton.py`) in log w and the logits of q, E has one block for each
cluster and M one row for each x. The block of the logits is minus the curvature of log c
(`_certificate.py`) at q_z: it is positive at an optimum over any number of clusters, where c is
highest at q_z.

With more rows than unknowns this system is solved directly. With fewer, the matrix
K = 1 + M_q D^-1 M_q', which has one row for each x, takes its place, D being the blocks of the
logits (the Sherman-Morrison-Woodbury formula), and a system for the weights remains. There the
parts of E that couple a weight with the logits of its cluster are left out: they vanish at the
optimum, and Newton's method stays quadratic without them.

Of the logits of two classes only the difference counts, and the second logit moves. Those of more
classes have one direction that changes no q: it is pinned by adding t r q q' to D, so that no class
is special.
"""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.information._clusters import Clusters
from narrows.information._joint import Source

__all__ = ["free", "positive", "step_by_rows", "step_by_unknowns"]

_TINY = 1e-300
_FLAT = 1e-12
_DAMPING = 1e-12
_INTERIOR, _CENTRING, _SHORT = 25, 0.05, 0.99
_CLOSED, _GONE = 1e-6, 1e-3


def free(classes: int) -> slice:
    """The classes whose logits are unknowns."""
    return slice(1, None) if classes == 2 else slice(None)


def positive(q: Tensor, spread: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Factor L `[..., Y, Y]` and scale s `[..., Y]` of a positive stand-in for a curvature.

    Minus the curvature of log c in the logits, pinned, is `t (diag q - t spread)`. Its inverse,
    with negative eigenvalues made positive, is (s L)(s L)'.

    Args:
        q: `[..., Y]`, decoders.
        spread: `[..., Y, Y]`, the mean of (p(y|x) - q)(p(y|x) - q)'.
        t: `[...]`.
    """
    root = q.clamp_min(_TINY).rsqrt()
    scaled = t[..., None, None] * root[..., None] * spread * root[..., None, :]
    identity = torch.eye(q.shape[-1]).to(q)
    values, vectors = torch.linalg.eigh(identity - scaled)
    factor = vectors * values.abs().clamp_min(_FLAT).rsqrt()[..., None, :]
    return factor, root * t[..., None].rsqrt()


def step_by_unknowns(
    source: Source, t: Tensor, clusters: Clusters, encoder: Tensor, gradient: Tensor
) -> Tensor:
    """Newton's step from the system with one row for each unknown.

    Args:
        source: p(x) and p(y|x).
        t: `[B]`, 1/beta.
        clusters: of each bottleneck.
        encoder: `[B, X, Z]`, p(z|x) of the clusters.
        gradient: `[B, Z, 1 + free]`, of Phi in log w and the free logits.

    Returns:
        The step `[B, Z, 1 + free]`, uphill also along eigenvectors with a wrong sign of the
        curvature.
    """
    curvature = _whole(source, t, clusters, encoder, gradient)
    diagonal = curvature.diagonal(dim1=1, dim2=2)
    empty = (clusters.w <= 0).repeat_interleave(gradient.shape[2], 1)
    scale = torch.where(empty, 1.0, diagonal.abs().clamp_min(_TINY).rsqrt())
    curvature = scale[:, None] * curvature * scale[..., None] + torch.diag_embed(empty.double())
    gradient_ = (scale * gradient.flatten(1))[..., None]
    root, failed = torch.linalg.cholesky_ex(curvature)
    step = torch.cholesky_solve(gradient_, root)
    if failed.any():
        values, vectors = torch.linalg.eigh(curvature[failed > 0])
        along = vectors.mT @ gradient_[failed > 0] / values.abs().clamp_min(_FLAT)[..., None]
        step[failed > 0] = vectors @ along
    return (scale * step[..., 0]).unflatten(1, gradient.shape[1:])


def _whole(
    source: Source, t: Tensor, clusters: Clusters, encoder: Tensor, gradient: Tensor
) -> Tensor:
    """Minus the second derivatives in (log w, logits) without those of log w itself."""
    q, p_y, joint, r = _free_parts(source, clusters, encoder)
    t = t[:, None, None]
    pull = t[..., None] * (p_y[:, None] - q[:, None])
    root = source.p_x.sqrt()[:, None] * encoder
    mean = torch.cat([root[..., None], root[..., None] * pull], 3).flatten(2)
    curvature = mean.mT @ mean
    # Phi is concave in w; the curvature of the logarithm, which vanishes at the end, is left out.
    block = t[..., None] * r[..., None, None] * torch.diag_embed(q)
    if q.shape[2] == 1:
        block -= t[..., None] * r[..., None, None] * q[..., None] ** 2
    block -= t[..., None] ** 2 * _within(p_y, joint, r, q)
    z, y = r.shape[1], gradient.shape[2]
    diagonal = curvature.unflatten(2, (z, y)).unflatten(1, (z, y)).diagonal(dim1=1, dim2=3)
    of_w = gradient[..., 1:]
    diagonal[:, 0, 1:] -= of_w.mT
    diagonal[:, 1:, 0] -= of_w.mT
    diagonal[:, 1:, 1:] += block.permute(0, 2, 3, 1)
    return curvature


def _free_parts(
    source: Source, clusters: Clusters, encoder: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q(y|z) and p(y|x) of the classes that move freely, p(x,z) `[B, X, Z]` and p(z) `[B, Z]`."""
    moving = free(source.p_y.shape[1])
    joint = encoder * source.p_x[:, None]
    return clusters.q[..., moving], source.p_y[:, moving], joint, joint.sum(1)


def _within(p_y: Tensor, joint: Tensor, r: Tensor, q: Tensor) -> Tensor:
    """sum_x r(x,z) (p(y|x) - q_z)(p(y|x) - q_z)': `[B, Z, Y, Y]`, what a cluster takes together."""
    square = (joint.mT @ (p_y[:, :, None] * p_y[:, None]).flatten(1)).unflatten(2, q.shape[2:] * 2)
    centre = (joint.mT @ p_y)[..., None] * q[..., None, :]
    return square - centre - centre.mT + r[..., None, None] * q[..., None] * q[..., None, :]


def step_by_rows(
    source: Source, t: Tensor, clusters: Clusters, encoder: Tensor, gradient: Tensor
) -> Tensor:
    """Newton's step from the system with identity row for each x, for fewer x than unknowns.

    Args:
        source: p(x) and p(y|x).
        t: `[B]`, 1/beta.
        clusters: of each bottleneck.
        encoder: `[B, X, Z]`, p(z|x) of the clusters.
        gradient: `[B, Z, 1 + free]`, of Phi in log w and the free logits.

    Returns:
        The step `[B, Z, 1 + free]`. Where the curvature of a cluster has a wrong sign, the sign is
        changed.
    """
    q, p_y, joint, r = _free_parts(source, clusters, encoder)
    weight = r.clamp_min(_TINY)
    spread = _within(p_y, joint, r, q) / weight[..., None, None]
    if q.shape[2] == 1:
        spread = spread + (q**2)[..., None] / t[:, None, None, None]
    factor, scale = positive(q, spread, t[:, None].expand_as(r))
    factor = factor * (scale * weight.rsqrt()[..., None])[..., None]
    m_w = source.p_x.sqrt()[:, None] * encoder
    pull = m_w[..., None] * t[:, None, None, None] * (p_y[:, None] - q[:, None])
    m_q = torch.einsum("bxzy,bzyv->bxzv", pull, factor).flatten(2)
    g_q = (factor.mT @ gradient[..., 1:, None]).flatten(1)
    identity = torch.eye(len(p_y)).to(p_y)
    root = torch.linalg.cholesky(identity + m_q @ m_q.mT)
    half_w = torch.linalg.solve_triangular(root, m_w, upper=False)
    half_q = torch.linalg.solve_triangular(root, m_q @ g_q[..., None], upper=False)
    of_w = gradient[..., :1] - half_w.mT @ half_q
    step_w = _solve_weights(half_w.mT @ half_w, of_w)
    lift = torch.linalg.solve_triangular(root.mT, half_q + half_w @ step_w, upper=True)
    along = (g_q - (m_q.mT @ lift)[..., 0]).unflatten(1, q.shape[1:])
    step_q = (factor @ along[..., None])[..., 0]
    return torch.cat([step_w, step_q], 2)


def _solve_weights(curvature: Tensor, gradient: Tensor) -> Tensor:
    """Relative steps of the weights `[B, Z, 1]`, none of them below -1.

    Where many clusters can replace each other, the unconstrained step is far too long.
    """
    diagonal = curvature.diagonal(dim1=1, dim2=2)
    scale = torch.where(diagonal > _TINY, diagonal.clamp_min(_TINY).rsqrt(), 1.0)
    scaled = scale[:, None] * curvature * scale[..., None]
    scaled.diagonal(dim1=1, dim2=2).add_(_DAMPING)
    pull = scale[..., None] * gradient
    root, failed = torch.linalg.cholesky_ex(scaled)
    step = scale[..., None] * torch.cholesky_solve(pull, root)
    bound = (failed > 0) | (step < -1).any(1)[:, 0]
    if bound.any():
        step[bound] = _interior(scaled[bound], pull[bound], 1 / scale[bound, :, None])
        step[bound] *= scale[bound, :, None]
    return step


def _interior(curvature: Tensor, gradient: Tensor, most: Tensor) -> Tensor:
    """Maximise g's - s'Cs / 2 over s >= -most, by the primal-dual interior point method.

    Source: Nocedal & Wright (2006), "Numerical Optimization", section 16.6.
    """
    left = most.clone()
    price = gradient.abs() + most.amin(1, keepdim=True) + 1 / most
    for _ in range(_INTERIOR):
        off = gradient - curvature @ (left - most)
        mean = _CENTRING * (price * left).mean(1, keepdim=True)
        if (price * left).sum(1).max() < _CLOSED * (gradient.abs() * most).sum(1).max():
            break
        root, _ = torch.linalg.cholesky_ex(curvature + torch.diag_embed((price / left)[..., 0]))
        move = torch.cholesky_solve(off + mean / left, root)
        move_price = (mean - price * move) / left - price
        length = torch.minimum(_room(left, move), _room(price, move_price))
        left, price = left + length * move, price + length * move_price
    # Negligible weights become 0; a cluster that is wanted after all is found again.
    return torch.where(left < _GONE * most, 0.0, left) - most


def _room(value: Tensor, move: Tensor) -> Tensor:
    """How much of a move keeps all values positive: `[B, 1, 1]`."""
    ratio = torch.where(move < 0, -value / move, torch.inf)
    return (_SHORT * ratio.amin(1, keepdim=True)).clamp_max(1)
