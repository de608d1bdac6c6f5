"""Tiny binary networks of which every code, and every tree of draws, can be written down."""

import itertools
import math

import torch
from torch import Tensor

from narrows.models import BinaryStochasticNet
from narrows.models.noise import noise_from


def tiny(hidden=(2, 2), inputs=3, classes=3, seed=0, **options) -> BinaryStochasticNet:
    """A float64 network with weights large enough for its layers to matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = BinaryStochasticNet(inputs, hidden, classes, **options).double()
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=1.5)
    return net


def codes_of(units: int) -> Tensor:
    """Every code: `[2^units, units]`."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)


class Forced:
    """Hands out numbers for which the coins of the next draws fall as they are told."""

    def __init__(self, draws: list[Tensor]) -> None:
        self.draws = list(draws)

    def normal(self, shape, like: Tensor) -> Tensor:
        draw = self.draws.pop(0)
        assert draw.shape == tuple(shape)
        return torch.where(draw > 0.5, -math.inf, math.inf).to(like)


def every_tree(hidden: tuple[int, ...], samples: int) -> tuple[int, list[Tensor]]:
    """How many trees one input can have, and the draws of all of them as inputs of one batch."""
    nodes = [samples ** (layer + 1) * units for layer, units in enumerate(hidden)]
    bits = codes_of(sum(nodes))
    draws = []
    for part, units in zip(bits.split(nodes, 1), hidden, strict=True):
        # [trees, M^l, units] to [M, M^(l-1) * trees, units], the newest draw slowest.
        newest_first = part.unflatten(1, (-1, units)).transpose(0, 1).flatten(0, 1)
        draws.append(newest_first.unflatten(0, (samples, -1)))
    return len(bits), draws


def forced(draws: list[Tensor]):
    """Draw exactly these codes inside the block."""
    return noise_from(Forced(draws))


def log_probability(net: BinaryStochasticNet, x: Tensor, codes: tuple[Tensor, ...]) -> Tensor:
    """log p of every input's tree, differentiable: `[batch]`, node by node, from the definition."""
    layers, total, parents = net.linear_layers(), torch.zeros(len(x), dtype=x.dtype), x
    for layer, z in zip(layers, codes, strict=False):
        repeated = parents.repeat(len(z) // len(parents), 1)
        p = torch.sigmoid(repeated @ layer.weight.T + layer.bias)
        log_p = torch.where(z > 0.5, p, 1 - p).log().sum(1)
        total = total + log_p.unflatten(0, (-1, len(x))).sum(0)
        parents = z
    return total


def exact_terms(net: BinaryStochasticNet, x: Tensor, y: int, r: list[Tensor]) -> dict[str, Tensor]:
    """VCR and compression of every layer for one input, by nested sums over all codes."""
    *hidden, last = net.linear_layers()
    tables, codes = [], [x.unsqueeze(0)]
    for layer in hidden:
        p = torch.sigmoid(codes[-1] @ layer.weight.T + layer.bias)
        new = codes_of(layer.out_features)
        tables.append(torch.stack([torch.where(z > 0.5, p, 1 - p).prod(1) for z in new], 1))
        codes.append(new)
    said = [torch.softmax(codes[-1] @ last.weight.T + last.bias, 1)[:, y]]
    for table in reversed(tables):
        said.insert(0, table @ said[0])  # p(y|z_l) of every code z_l
    of_x, terms = torch.ones(1, dtype=x.dtype), {}
    for layer, p_y in enumerate(said):
        terms[f"vcr.{layer}"] = -(of_x * p_y.log()).sum()
        if layer < len(tables):
            linear = hidden[layer]
            p = torch.sigmoid(codes[layer] @ linear.weight.T + linear.bias)
            q = torch.sigmoid(r[layer])
            divergence = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(1)
            terms[f"compression.{layer + 1}"] = (of_x * divergence).sum()
            of_x = of_x @ tables[layer]
    return terms
