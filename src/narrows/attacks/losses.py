"""Losses that an attack raises: `(logits [n, C], labels [n]) -> [n]`, one value an image."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from narrows.errors import unknown_name

__all__ = ["LOSSES", "AttackLoss", "cross_entropy", "margin", "resolve_loss"]

AttackLoss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of the labels. Its float32 gradient vanishes on saturated logits."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other logit minus the label's: positive exactly where the label is not predicted."""
    column = labels.unsqueeze(1)
    others = logits.scatter(1, column, float("-inf"))
    return others.amax(1) - logits.gather(1, column).squeeze(1)


LOSSES: dict[str, AttackLoss] = {"cross_entropy": cross_entropy, "margin": margin}


def resolve_loss(name: str) -> AttackLoss:
    """Look an attack loss up by name.

    Raises:
        ConfigError: listing the valid names.
    """
    if name not in LOSSES:
        raise unknown_name("attack loss", name, LOSSES)
    return LOSSES[name]
