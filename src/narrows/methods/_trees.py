"""Relevance and compression of each layer of a binary network, from a tree of draws.

    H~(Y|Z_l) = -E_{z_l|x} log E_{Z_L|z_l} p(y|Z_L)             the relevance of layer l, VCR
    I~(Z_l;Z_(l-1)) = E sum_i KL(p(z_l,i|z_(l-1)) || r(z_l,i))  its compression, r_l Bernoulli

Source: Nguyen & Choi (2017), arXiv 1712.01272, eqs. 6, 7 and 10. In a tree of M draws a layer the
inner expectation is the mean over the M^(L-l) leaves below a node, and the outer one is the mean
over the M^l nodes of the layer. VCR, variational conditional relevance, is the paper's name of
H~(Y|Z_l). The VCR of layer 0 is the negative log-likelihood of the network (Theorem 3.2).

By Jensen's inequality the logarithm of a mean over n draws is too small on average, by about
Var[p(y|Z_L)] / (2 n p(y)^2): the VCR of a tree is an upper bound on average, and it falls as M
grows. That of layer L has no inner mean, and no bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from narrows.errors import InputError
from narrows.methods._score import node_credits, with_score
from narrows.models.binary_stochastic import BinaryStochasticNet, Tree, tree
from narrows.models.layers import as_written, unwrapped
from narrows.models.noise import SeededNoise, noise_from, standard_normal
from narrows.models.tap import Tap
from narrows.types import Batch, ModelOutput

__all__ = ["binary_divergence", "node_likelihoods", "observe_tree"]

_SEED_BITS = 2**63 - 1
_Reader = Callable[[Tensor, Tensor], dict[str, Tensor]]


def observe_tree(
    method: str,
    model: nn.Module,
    batch: Batch,
    *,
    samples: int,
    chunk: int | None,
    log_odds: Sequence[Tensor] = (),
    active: Tensor | None = None,
) -> ModelOutput:
    """Draw a tree for every input and compute the terms of every layer.

    Args:
        method: name for errors.
        model: a `BinaryStochasticNet`, perhaps tapped.
        batch: inputs and labels.
        samples: M.
        chunk: inputs whose trees are in memory at the same time; the backward pass draws each
            chunk's trees again. `None` for all inputs at once.
        log_odds: of r for each layer; empty where no compression is needed.
        active: `[layers]` bool, true for the one layer that is compressed; layers before it get no
            gradient. `None` for all layers.

    Returns:
        The log of the mean probabilities as logits `[batch, classes]`, and the activations
        "vcr.0", "vcr.1", ..., "compression.1", ..., one number per input: `[batch]`.

    Raises:
        InputError: for a model without binary stochastic layers, other widths than those of
            `log_odds`, or chunks in a stack.
    """
    held = None if active is None else active.flip(0).cumsum(0).flip(0) > active.to(torch.long)
    around, net = _binary_net(method, model, log_odds)
    scored = net.gradient == "reinforce" and net.mode == "sample"

    def read(net: BinaryStochasticNet, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        drawn = tree(net, x, samples=samples, held=held)
        return _measure(drawn, y, log_odds, active, scored=scored)

    def read_all(net: BinaryStochasticNet, x: Tensor) -> dict[str, Tensor]:
        # A batch on the meta device has no values: its trees need no memory.
        if chunk is None or chunk >= len(batch.y) or x.is_meta:
            return read(net, x, batch.y)
        pairs = zip(x.split(chunk), batch.y.split(chunk), strict=True)
        parts = [_redrawn(partial(read, net), *pair) for pair in pairs]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    # Called as a module, so that DistributedDataParallel sees a forward pass.
    with as_written(around):
        values: dict[str, Tensor] = around(batch.x, read_all)
    return ModelOutput(values.pop("logits"), activations=values)


def _redrawn(read: _Reader, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """`read(x, y)`, which is computed again, from the same seed, in the backward pass."""
    try:
        seed = hash(tuple(standard_normal((4,), x).tolist())) & _SEED_BITS
    except RuntimeError as error:  # inside vmap, where values cannot be read
        raise InputError(
            "trees in chunks cannot be drawn in a stack; set chunk=None, or train one at a time"
        ) from error

    def seeded(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        generator = torch.Generator(x.device).manual_seed(seed)
        with noise_from(SeededNoise(generator)):
            return read(x, y)

    values = checkpoint(seeded, x, y, use_reentrant=False, preserve_rng_state=False)
    return cast(dict[str, Tensor], values)


def _binary_net(
    method: str, model: nn.Module, log_odds: Sequence[Tensor]
) -> tuple[nn.Module, BinaryStochasticNet]:
    """The network inside its wrappers (compiled, distributed), and the network itself."""
    around = model.model if isinstance(model, Tap) else model
    net = unwrapped(around)
    if not isinstance(net, BinaryStochasticNet):
        raise InputError(
            f"{method} needs a network of binary stochastic layers, and {type(net).__name__} "
            "has none: use BinaryStochasticNet(inputs, hidden, classes), with front=... for the "
            "layers before them; the latent of a Bottleneck is not binary"
        )
    widths = tuple(len(odds) for odds in log_odds)
    if widths and widths != net.hidden:
        raise InputError(f"{method} was built for layers of {widths}, the network has {net.hidden}")
    return around, net


def _measure(
    drawn: Tree,
    y: Tensor,
    log_odds: Sequence[Tensor],
    active: Tensor | None,
    scored: bool,
) -> dict[str, Tensor]:
    """The logits and activations that `observe_tree` returns, from one tree per input."""
    inputs, log_p = len(y), drawn.logits.log_softmax(-1)
    losses = [-likelihood for likelihood in node_likelihoods(log_p, y, drawn)]
    charges = {f"vcr.{layer}": (layer, losses[layer:]) for layer in range(len(losses))}
    for layer, (a, odds) in enumerate(zip(drawn.scores, log_odds, strict=False)):
        if active is not None:
            a = torch.where(active[layer], a, a.detach())
        charges[f"compression.{layer + 1}"] = (layer, [binary_divergence(a, odds)])
    leaves = log_p.unflatten(0, (-1, inputs))
    values = {"logits": leaves.logsumexp(0) - math.log(len(leaves))}
    for name, (layer, nodes) in charges.items():
        mean = nodes[0].unflatten(0, (-1, inputs)).mean(0)
        if scored:
            mean = with_score(mean, node_credits(nodes, layer, drawn.samples), drawn)
        values[name] = mean
    return values


def node_likelihoods(log_p: Tensor, y: Tensor, drawn: Tree) -> list[Tensor]:
    """Log p(y|z_l) of every node of layers 0 to L, from its leaves: `[M^l * batch]` each.

    Args:
        log_p: log p(.|z_L) of every leaf, `[M^L * batch, classes]`.
        y: `[batch]`.
        drawn: the tree of these leaves.
    """
    labels = y.repeat(len(log_p) // len(y)).unsqueeze(-1)
    values = [log_p.gather(-1, labels).squeeze(-1)]
    for _ in drawn.codes:
        siblings = values[-1].unflatten(0, (drawn.samples, -1))
        values.append(siblings.logsumexp(0) - math.log(drawn.samples))
    return values[::-1]


def binary_divergence(a: Tensor, b: Tensor) -> Tensor:
    """KL in nats of Bernoulli units with log-odds `a` to those with `b`: `[..., N]` to `[...]`."""
    return (a.sigmoid() * (a - b) - F.softplus(a) + F.softplus(b)).sum(-1)
