"""Stochastic feed-forward network: maximum likelihood of a network of Bernoulli units."""

from __future__ import annotations

from torch import Tensor, nn

from narrows.errors import ConfigError
from narrows.methods._base import Method
from narrows.methods._imb import check_tree, vcr_of
from narrows.methods._trees import observe_tree
from narrows.types import Batch, ModelOutput

__all__ = ["SFNN"]


class SFNN(Method):
    """Stochastic feed-forward network: maximum likelihood of a network of Bernoulli units.

        L = -log E_{z_1 ... z_L | x} p(y|z_L)

    Source: Raiko, Berglund, Alain & Dinh (2015), arXiv 1406.2989; as a baseline with M = 32 draws
    per layer: Nguyen & Choi (2017), arXiv 1712.01272, section 5. The expectation is the mean over
    the M^L leaves of a tree of draws, inside the logarithm. Cross-entropy on a binary network has
    the expectation outside, which is an upper bound of L.

    There is no compression: SFNN is JointIMB with beta = 0 and the weight of layer 0 alone.

    Args:
        beta: must be 0; it is an argument so that all methods are built alike.
        samples: M, draws of a layer for each draw of the layer before.
        chunk: inputs whose trees are in memory at the same time; `None` for all.

    Raises:
        ConfigError: for numbers below one, or another beta.
        InputError: for a model without binary stochastic layers.

    Example:
        >>> import torch
        >>> from narrows.models import BinaryStochasticNet
        >>> model = BinaryStochasticNet(4, [6, 3], classes=2)
        >>> SFNN(samples=8)(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Raiko et al. 2015, arXiv 1406.2989"
    couples = "its draws are shared by the inputs of a batch"
    needs = "binary stochastic layers"
    randomness = "a tree of binary units per input"
    latent = "binary"
    has_beta = False

    def __init__(self, beta: float = 0.0, samples: int = 32, chunk: int | None = None) -> None:
        if beta:
            raise ConfigError(f"SFNN compresses nothing: beta must be 0, got {beta}; see JointIMB")
        super().__init__(beta)
        check_tree("SFNN", samples, chunk)
        self.samples, self.chunk = samples, chunk

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Draw a tree for every input; the output has its mean probabilities."""
        return observe_tree("SFNN", model, batch, samples=self.samples, chunk=self.chunk)

    def prediction_loss(self, output: ModelOutput, y: Tensor) -> Tensor:
        """Negative log-likelihood `[batch]` of the labels that `observe` was given."""
        return vcr_of(output, 0)

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return f"samples={self.samples}, chunk={self.chunk}"
