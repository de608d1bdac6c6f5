"""Losses that an attack raises: `(logits [n, C], labels [n]) -> [n]`, one value for each image.

    margin        max_{i != y} z_i - z_y
    log_odds      log sum_{i != y} exp z_i - z_y
    dlr           (max_{i != y} z_i - z_y) / (z_(1) - z_(3))
    probability_margin  max_{i != y} p_i - p_y,   p = softmax(z)
    targeted_dlr  (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)

where z_(k) is the k-th largest logit. The last two do not change when the logits are shifted or
scaled, so that no temperature can hide their gradient.

Towards classes t that the caller chose, an attack raises `toward(loss)`:

    cross_entropy, margin, log_odds, probability_margin    -loss(z, t)
    dlr                                (z_t - max_{i != t} z_i) / (z_(1) - (z_(3) + z_(4)) / 2)

The negative of `dlr` is constantly -1 where t ranks third, and so has no gradient there. The
targeted form is eq. 7 with the best other class in the place of the label, since that is the class
that t has to overtake. A loss towards other classes takes their `targets [n]` as a third argument.

Source: Croce & Hein (2020), arXiv 2003.01690, eq. 6 and 7; the margin of probabilities is that of
Xie et al. (2024), arXiv 2411.15210.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.errors import unknown_name

__all__ = [
    "LOSSES",
    "AttackLoss",
    "TargetedLoss",
    "aimed",
    "cross_entropy",
    "dlr",
    "lead",
    "log_odds",
    "margin",
    "probability_margin",
    "resolve_loss",
    "targeted_dlr",
    "toward",
    "warn_of_few_classes",
]

AttackLoss = Callable[[Tensor, Tensor], Tensor]
TargetedLoss = Callable[[Tensor, Tensor, Tensor], Tensor]

_LEAST_CLASSES = {"dlr": 3, "targeted_dlr": 4}


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of the labels; its float32 gradient vanishes where it saturates."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other logit minus the label's: positive exactly where the label is not predicted."""
    column = labels.unsqueeze(1)
    others = logits.scatter(1, column, float("-inf"))
    return others.amax(1) - logits.gather(1, column).squeeze(1)


def probability_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other probability minus the label's; its gradient vanishes where either saturates.

    Source: Xie, Ma, Zhu & Tang (2024), arXiv 2411.15210.

    Args:
        logits: `[n, C]`.
        labels: `[n]`.
    """
    return margin(logits.softmax(1), labels)


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """Logarithm of the odds against the labels: cross-entropy's direction, without saturation."""
    column = labels.unsqueeze(1)
    others = logits.scatter(1, column, float("-inf"))
    return others.logsumexp(1) - logits.gather(1, column).squeeze(1)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Margin in units of the spread of the three largest logits; with two classes the margin."""
    if logits.shape[1] < _LEAST_CLASSES["dlr"]:
        return margin(logits, labels)
    largest = logits.topk(3, dim=1).values
    return _ratio(margin(logits, labels), largest[:, 0] - largest[:, 2])


def lead(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The target's logit minus the label's.

    Args:
        logits: `[n, C]`.
        labels: `[n]`.
        targets: `[n]`.
    """
    pair = logits.gather(1, torch.stack([targets, labels], 1))
    return pair[:, 0] - pair[:, 1]


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The target's lead in units of the spread of the four largest logits.

    With fewer than four classes it is the lead itself.

    Args:
        logits: `[n, C]`.
        labels: `[n]`.
        targets: `[n]`.
    """
    if logits.shape[1] < _LEAST_CLASSES["targeted_dlr"]:
        return lead(logits, labels, targets)
    largest = logits.topk(4, dim=1).values
    spread = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    return _ratio(lead(logits, labels, targets), spread)


def aimed(loss: AttackLoss | TargetedLoss, targets: Tensor | None) -> AttackLoss:
    """The loss itself, or aimed at `targets: [n]` if there are any."""
    return cast(AttackLoss, loss if targets is None else partial(loss, targets=targets))


def toward(loss: AttackLoss) -> AttackLoss:
    """The form of a loss that rises towards the labels, which are targets here."""
    if loss is dlr:
        return _chosen_dlr
    return lambda logits, labels: -loss(logits, labels)


def _chosen_dlr(logits: Tensor, chosen: Tensor) -> Tensor:
    """Targeted DLR from the best of all other classes towards the chosen one."""
    best_other = logits.scatter(1, chosen.unsqueeze(1), float("-inf")).argmax(1)
    return targeted_dlr(logits, best_other, chosen)


def _ratio(value: Tensor, spread: Tensor) -> Tensor:
    # Equal largest logits (a constant model) give 0 with a finite gradient, not NaN.
    return value / spread.clamp_min(torch.finfo(spread.dtype).tiny ** 0.5)


LOSSES: dict[str, AttackLoss] = {
    "cross_entropy": cross_entropy,
    "margin": margin,
    "probability_margin": probability_margin,
    "dlr": dlr,
}


def resolve_loss(name: str, classes: int | None = None, *, targeted: bool = False) -> AttackLoss:
    """Look up an attack loss by its name.

    Args:
        name: of the loss.
        classes: of the model; with fewer than the loss needs it is the margin, which is logged as
            a warning. `None` if they are not known yet.
        targeted: whether the form that `toward` gives the loss is meant, which needs more classes.

    Raises:
        ConfigError: listing the valid names.
    """
    if name not in LOSSES:
        raise unknown_name("attack loss", name, LOSSES)
    warn_of_few_classes(f"targeted_{name}" if targeted else name, classes)
    return LOSSES[name]


def warn_of_few_classes(name: str, classes: int | None) -> None:
    """Log a warning if the loss called `name` is the margin on a model of so few classes."""
    least = _LEAST_CLASSES.get(name, 0)
    if classes is not None and classes < least:
        logging.getLogger(__name__).warning(
            "the loss %s needs %d classes and the model has %d; the margin is used instead",
            *(name, least, classes),
        )
