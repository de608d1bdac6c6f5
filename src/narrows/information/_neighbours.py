"""The nearest neighbours of each point in the maximum norm, exactly.

    distance(i, j) = max_d |a_i,d - a_j,d|

In few dimensions by SciPy's k-d tree (Bentley 1975). In many, where a tree visits every leaf, and
on other devices than the CPU, by brute force in blocks that stay in the cache. Both return the same
numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nearest"]

# Above this the tree is slower, for correlated Gaussians of 1,000 to 20,000 samples.
_FEW = 12
_GROUP = 16
_SPARE = 4
# Two coordinates up to 1 are rounded, and so is their difference, which is up to 2.
_SLACK = 5 * 2.0**-24
# Numbers in a block: it fits into a processor's cache, or keeps a whole accelerator busy.
_BLOCK = {"cpu": 2**17}
_LARGE_BLOCK = 2**25


def nearest(points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` nearest others of each of `points: [n, D]`: distances, rising, and rows, `[n, k]`."""
    if points.shape[1] <= _FEW and points.device.type == "cpu":
        from scipy.spatial import KDTree  # not at the top: it is slow to import

        array = points.numpy()
        distances, rows = KDTree(array, leafsize=16).query(array, k + 1, p=torch.inf)
        return _others(torch.from_numpy(distances), torch.from_numpy(rows))
    return nearest_in_blocks(points, k)


def nearest_in_blocks(points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`nearest` by brute force, twice as fast as in double precision alone.

    Single precision picks a few more candidates than needed, whose distances are then computed
    exactly. Where the last candidate is so near that rounding may have hidden a nearer point, all
    points are compared in double precision.
    """
    centred = points - points.mean(0)
    scale = centred.abs().max().clamp_min(torch.finfo(points.dtype).tiny)
    picked = min(k + 1 + _SPARE, len(points))
    rough, candidates = _search((centred / scale).float(), slice(None), picked)
    exact = torch.zeros_like(points[:, :1]).expand(-1, picked)
    for column in points.T.contiguous():
        exact = torch.maximum(exact, (column[:, None] - column[candidates]).abs_())
    distances, at = exact.topk(k + 1, largest=False)
    rows = candidates.gather(1, at)
    if picked < len(points):
        sure = distances[:, -1] / scale <= rough[:, -1] - _SLACK
        doubtful = (~sure).nonzero()[:, 0]
        distances[doubtful], rows[doubtful] = _search(points, doubtful, k + 1)
    return _others(distances, rows)


def _search(points: Tensor, chosen: Tensor | slice, count: int) -> tuple[Tensor, Tensor]:
    """The `count` nearest of all points to each of the chosen ones, themselves included."""
    columns = points.T.contiguous()
    size = max(1, _BLOCK.get(points.device.type, _LARGE_BLOCK) // len(points))
    blocks = []
    for block in columns[:, chosen].split(size, 1):
        farthest = (block[0, :, None] - columns[0]).abs_()
        part = torch.empty_like(farthest)
        for chosen_column, column in zip(block[1:], columns[1:], strict=True):
            torch.sub(chosen_column[:, None], column, out=part).abs_()
            torch.maximum(farthest, part, out=farthest)
        blocks.append(_smallest(farthest, count))
    distances, rows = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return distances, rows


def _others(distances: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Remove each point itself, or one at the same place, from its `[n, k + 1]` nearest."""
    n, k = len(rows), rows.shape[1] - 1
    itself = rows == torch.arange(n, device=rows.device)[:, None]
    itself[:, -1] |= ~itself.any(1)
    return distances[~itself].view(n, k), rows[~itself].view(n, k)


def _smallest(apart: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest of each row of `apart: [m, n]`, rising, and where."""
    width = apart.shape[1] // _GROUP
    if width < 2 * count:
        return torch.topk(apart, count, largest=False)
    # They are in the groups with the smallest minima, or among the last, which form no group.
    cut = width * _GROUP
    groups = apart[:, :cut].unflatten(1, (_GROUP, width)).amin(1).topk(count, largest=False).indices
    members = torch.arange(0, cut, width, device=apart.device)
    rest = torch.arange(cut, apart.shape[1], device=apart.device).expand(len(apart), -1)
    places = torch.cat([(groups[..., None] + members).flatten(1), rest], 1)
    values, at = apart.gather(1, places).topk(count, largest=False)
    return values, places.gather(1, at)
