"""The classes that a targeted attack heads for, and their order."""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.attacks.norms import dual_size
from narrows.attacks.query import Query
from narrows.errors import unknown_name
from narrows.types import Norm

__all__ = ["ORDERS", "check_order", "rivals"]

ORDERS = ("likelihood", "distance")

_CANDIDATES = 100  # most likely classes whose distances are computed


def check_order(order: str) -> None:
    """Refuse the name of an order that does not exist.

    Raises:
        ConfigError: listing the valid names.
    """
    if order not in ORDERS:
        raise unknown_name("order of targets", order, ORDERS)


def rivals(
    query: Query, x: Tensor, rows: Tensor, logits: Tensor, count: int, order: str, norm: Norm
) -> Tensor:
    """The classes other than the label to head for, the most promising first: `[b, count]`.

        likelihood   f_t, the largest first
        distance     (f_y - f_t) / |grad f_y - grad f_t|_dual, the least first

    The second is the distance to the linearised boundary of a class at the image. It is computed
    for the 100 most likely classes, each of which takes a backward pass.

    Source: Melamed, Yehudai & Shamir (2024), arXiv 2407.02240, for the order by distance.

    Args:
        query: the model, and the labels of the images.
        x: `[b, ...]` images.
        rows: `[b]`, which labels of the chunk are theirs.
        logits: `[b, C]` at `x`.
        count: number of classes.
        order: `"likelihood"` or `"distance"`.
        norm: of the distance.
    """
    labels = query.labels[rows]
    others = logits.scatter(1, labels.unsqueeze(1), float("-inf"))
    if order == "likelihood":
        return others.topk(count, dim=1).indices
    candidates = others.topk(min(max(count, _CANDIDATES), logits.shape[1] - 1), dim=1).indices
    distances = [
        (lead.abs() / dual_size(gradient, norm)).nan_to_num(torch.inf, torch.inf)
        for lead, gradient in query.gaps(x, labels, candidates, rows)
    ]
    places = torch.stack(distances, 1).argsort(dim=1, stable=True)[:, :count]
    return candidates.gather(1, places)
