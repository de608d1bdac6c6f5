"""The score-function gradient of a mean over a tree of draws, with a baseline for each node.

    grad E[F] = E[ grad F + sum_n (F - F without n) grad log p(n | its parent) ]

F is the mean cost of the nodes of one layer. The baseline of a node n is F of the tree without n
and all nodes below it. It depends on n's siblings but not on n, so the gradient stays unbiased and
its variance falls. The cost of a node either follows from its path (a compression, the VCR of the
last layer), or is minus the log of a mean over the leaves below it.

Source: Williams (1992), Machine Learning 8; leave-one-out baselines: Mnih & Rezende (2016), arXiv
1602.06725. With a single draw a node has no siblings, and no baseline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.models.binary_stochastic import Tree

__all__ = ["node_credits", "with_score"]

_LEAST = -1 + 1e-6


def node_credits(charges: Sequence[Tensor], layer: int, samples: int) -> list[Tensor]:
    """F - F without n for every node n, where F is the mean cost per input.

    Args:
        charges: cost of the nodes of `layer`, `[M^layer * batch]`; where it is minus the log of a
            mean over leaves, followed by the same of each layer below, down to the leaves.
        layer: whose nodes have these costs; 0 for the inputs themselves.
        samples: M, draws of a layer for each draw of the layer before.

    Returns:
        `[M^k * batch]` for the layers k = 1, 2, ..., detached.
    """
    charges = [charge.detach() for charge in charges]
    above = [_of_path(charges[0], layer - k, samples) / samples**k for k in range(1, layer + 1)]
    below = [
        _of_leaf(charges[: depth + 1], samples) / samples**layer for depth in range(1, len(charges))
    ]
    return above + below


def _of_path(charge: Tensor, depth: int, samples: int) -> Tensor:
    """The mean cost of the nodes `depth` layers below n, minus the same for n's siblings."""
    mean = charge.unflatten(0, (samples**depth, -1)).mean(0)
    if samples == 1:
        return mean
    siblings = mean.unflatten(0, (samples, -1))
    others = (siblings.sum(0) - siblings) / (samples - 1)
    return (siblings - others).flatten()


def _of_leaf(charges: Sequence[Tensor], samples: int) -> Tensor:
    """The cost of n's ancestor, minus the cost that it would have without n."""
    *ancestors, nodes = [-charge for charge in charges]
    top = ancestors[0].repeat(len(nodes) // len(ancestors[0]))
    if samples == 1:
        return -top
    siblings = nodes.unflatten(0, (samples, -1))
    itself = torch.eye(samples, dtype=torch.bool, device=nodes.device).unsqueeze(-1)
    others = siblings.expand(samples, *siblings.shape).masked_fill(itself, -math.inf)
    without = (others.logsumexp(1) - math.log(samples - 1)).flatten()
    child = ancestors[-1]
    for parent in ancestors[-2::-1]:
        # One of the parent's M children changes its likelihood from `child` to `without`.
        parent_, child_ = (part.repeat(len(nodes) // len(part)) for part in (parent, child))
        change = ((without - parent_).exp() - (child_ - parent_).exp()) / samples
        without = parent_ + change.clamp_min(_LEAST).log1p()
        child = parent
    return without - top


def with_score(value: Tensor, credits: Sequence[Tensor], drawn: Tree) -> Tensor:
    """`value: [batch]` unchanged, with the gradient of the score added to its gradient.

    Args:
        value: mean cost of each input.
        credits: of the nodes of each layer, as `node_credits` returns them.
        drawn: the tree.
    """
    for credit, a, z in zip(credits, drawn.scores, drawn.codes, strict=False):
        draws = z.unflatten(0, (drawn.samples, -1))
        log_p = (torch.einsum("mpn,pn->mp", draws, a) - F.softplus(a).sum(-1)).flatten()
        score = credit * (log_p - log_p.detach())
        value = value + score.unflatten(0, (-1, len(value))).sum(0)
    return value
