"""The classes that a targeted attack heads for, and their order."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from narrows.attacks._judge import judge
from narrows.attacks.entrance import check_case
from narrows.attacks.norms import dual_size
from narrows.attacks.query import Query
from narrows.checks import ArrayLike, check_count
from narrows.errors import ConfigError, InputError, unknown_name
from narrows.types import Norm

__all__ = ["ORDERS", "TARGETS", "check_order", "rivals", "target_classes"]

ORDERS = ("likelihood", "distance")

TARGETS = ("next", "random", "least_likely")

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


def target_classes(
    model: nn.Module,
    x: ArrayLike,
    y: ArrayLike,
    choice: str | int,
    *,
    draws: int = 100,
    seed: int = 0,
) -> Tensor:
    """Classes for an attack to reach, none of which is the image's own: `[n]`.

        next           (y + 1) mod C
        random         uniform among the other classes
        least_likely   argmin_{k != y} f_k(x)
        a number       that class

    Args:
        model: returns logits `[n, C]` or a `ModelOutput`.
        x: `[n, ...]` images in [0, 1].
        y: `[n]` integer labels.
        choice: one of the above.
        draws: of a stochastic model's noise, over which the logits are averaged.
        seed: of random classes, and of the noise.

    Raises:
        ConfigError: for an unknown choice, or a class that the model does not have.
        InputError: for images that are of the chosen class, or a model that cannot be run on them.

    Example:
        >>> model, x, y = nn.Linear(4, 3), torch.rand(8, 4), torch.tensor([0, 1, 2, 2, 1, 0, 0, 1])
        >>> target_classes(model, x, y, "next")
        tensor([1, 2, 0, 0, 2, 1, 1, 2])
    """
    if isinstance(choice, str) and choice not in TARGETS:
        raise unknown_name("choice of targets", choice, TARGETS)
    x, y, _ = check_case(x, y, None, model)
    logits = judge(model, x, y, draws=draws, seed=seed).logits
    classes = logits.shape[1]
    if choice == "next":
        return (y + 1) % classes
    if choice == "random":
        generator = torch.Generator(y.device).manual_seed(seed)
        step = torch.randint(1, classes, y.shape, device=y.device, generator=generator)
        return (y + step) % classes
    if choice == "least_likely":
        return logits.scatter(1, y.long().unsqueeze(1), torch.inf).argmin(1)
    number = check_count(choice, "a target class", 0)
    if number >= classes:
        raise ConfigError(f"the model has the classes 0 to {classes - 1}, got target {number}")
    if same := int((y == number).sum()):
        raise InputError(f"{same} of {len(y)} images are of class {number} already; leave them out")
    return torch.full_like(y, number, dtype=torch.int64)
