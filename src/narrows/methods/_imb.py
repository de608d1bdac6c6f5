"""The common base of JointIMB and GreedyIMB: learned priors, and the terms of every layer.

    L = sum over layers of H~(Y|Z_l) + beta I~(Z_l;Z_(l-1)),   with different weights

Source: Nguyen & Choi (2017), arXiv 1712.01272, eqs. 6, 7 and 10; see `_trees.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from narrows.checks import check_count
from narrows.errors import ConfigError, InputError
from narrows.methods._base import Method, Sizes
from narrows.methods._trees import observe_tree
from narrows.models.bottleneck import check_draws
from narrows.types import Batch, ModelOutput

__all__ = ["LayerBottlenecks", "check_tree", "compression_of", "vcr_of"]


class LayerBottlenecks(Method):
    """Base of the methods that treat each layer of a binary network as a bottleneck.

    Args:
        beta: weight of the compression.
        hidden: widths of the network's stochastic layers.
        samples: M, draws of a layer for each draw of the layer before.
        chunk: inputs whose trees are in memory at the same time; `None` for all.

    Raises:
        ConfigError: for numbers below one, or no layers.
    """

    source = "Nguyen & Choi 2017, arXiv 1712.01272"
    couples = "its draws are shared by the inputs of a batch"
    needs = "binary stochastic layers"
    randomness = "a tree of binary units per input"
    latent = "binary"
    default_betas = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1)

    @abstractmethod
    def __init__(self, beta: float, hidden: Sequence[int], samples: int, chunk: int | None) -> None:
        super().__init__(beta)
        name = type(self).__name__
        check_tree(name, samples, chunk)
        if not hidden or min(hidden) < 1:
            raise ConfigError(
                f"{name} needs the widths of the network's stochastic layers, as in "
                f"hidden=[512, 512], got {list(hidden)}"
            )
        self.hidden, self.samples, self.chunk = tuple(hidden), samples, chunk
        # Log-odds of r, at first those of probability 1/2.
        self.log_odds = nn.ParameterList(nn.Parameter(torch.zeros(units)) for units in hidden)

    @classmethod
    def build(cls, beta: float, sizes: Sizes, **options) -> Self:
        """Build the method with priors of the network's widths; see `Method.build`."""
        return cls(beta, sizes.hidden, **options)

    @classmethod
    def paper(cls, hidden: Sequence[int] = (512, 512)) -> Self:
        """The paper's numbers on MNIST and CIFAR-10: beta 1e-4 and 32 draws a layer."""
        return cls(1e-4, hidden, samples=32, chunk=None)

    @property
    def active(self) -> Tensor | None:
        """The layer whose turn it is, `[layers]` bool; `None` where all are trained at once."""
        return None

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Draw a tree for every input and compute both terms of each layer."""
        return observe_tree(
            type(self).__name__,
            model,
            batch,
            samples=self.samples,
            chunk=self.chunk,
            log_odds=list(self.log_odds),
            active=self.active,
        )

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return (
            f"{super().extra_repr()}, hidden={self.hidden}, samples={self.samples}, "
            f"chunk={self.chunk}"
        )


def check_tree(method: str, samples: int, chunk: int | None) -> None:
    """Refuse numbers of draws or inputs below one.

    Args:
        method: name for errors.
        samples: M, draws of a layer for each draw of the layer before.
        chunk: inputs whose trees are in memory at the same time; `None` for all.

    Raises:
        ConfigError: for numbers below one, or more than a million draws.
    """
    check_draws(samples, f"samples of {method}")
    if chunk is not None:
        check_count(chunk, f"chunk of {method}")


def vcr_of(output: ModelOutput, layer: int) -> Tensor:
    """H~(Y|Z_l) of a layer in nats, the paper's VCR, per input: `[batch]`."""
    return _read(output, f"vcr.{layer}")


def compression_of(output: ModelOutput, layer: int) -> Tensor:
    """Compression of a layer in nats, per input: `[batch]`."""
    return _read(output, f"compression.{layer}")


def _read(output: ModelOutput, name: str) -> Tensor:
    if name not in output.activations:
        raise InputError(
            "the output holds no tree of draws; observe the model through the method, "
            "with method.observe(model, batch)"
        )
    return output.activations[name]
