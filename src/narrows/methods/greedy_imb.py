"""Greedy information multi-bottlenecks: the layers of a binary network are trained in turn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.methods._imb import LayerBottlenecks, compression_of, vcr_of
from narrows.types import Batch, ModelOutput, Term

__all__ = ["GreedyIMB"]


class GreedyIMB(LayerBottlenecks):
    """Greedy information multi-bottlenecks: the layers of a binary network are trained in turn.

        L_l = H~(Y|Z_l) + beta I~(Z_l;Z_(l-1)),   l = 1, ..., L in turn; layers before l are fixed

    Source: Nguyen & Choi (2017), arXiv 1712.01272, section 3.4 and appendix E. Both terms, and the
    conversion of beta, are those of `JointIMB`. The decoder of layer l is the rest of the network,
    so a turn trains layer l and all layers after it.

    The buffer `progress` says which layer's turn it is: the share of training that is over, in [0,
    1), of which each of the L layers gets an equal part. Training sets it by
    `method.progress.fill_(epoch / epochs)`.

    Deviations: the paper does not say how long a turn is, nor whether earlier layers are fixed or
    only start from their trained weights. This class reads "conditioned on the achieved conditional
    optimality of the previous layers" as fixed. Fixed layers have gradients of zero, so an
    optimiser with momentum or weight decay still moves them a little. The priors r of all layers
    are fitted in every turn, outside its turn without a gradient to the network, so that the prior
    of a layer is ready when its turn comes.

    The priors r belong to the method: in a training loop of your own, give `method.parameters()` to
    the optimiser too, and set `method.progress`.

    Args:
        beta: weight of the compression.
        hidden: widths of the network's stochastic layers.
        samples: M, draws of a layer for each draw of the layer before.
        chunk: inputs whose trees are in memory at the same time; `None` for all.

    Attributes:
        progress: scalar buffer, the share of training that is over; 0 at first.

    Raises:
        ConfigError: for numbers out of range.
        InputError: for a model without binary stochastic layers, or with layers of other widths.

    Example:
        >>> from narrows.models import BinaryStochasticNet
        >>> model = BinaryStochasticNet(4, [6, 3], classes=2)
        >>> method = GreedyIMB(beta=1e-4, hidden=[6, 3], samples=8)
        >>> method.progress.fill_(0.5)  # from here on, the second of two layers
        tensor(0.5000)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    progress: Tensor

    def __init__(
        self, beta: float, hidden: Sequence[int], samples: int = 32, chunk: int | None = None
    ) -> None:
        super().__init__(beta, hidden, samples, chunk)
        self.register_buffer("progress", torch.tensor(0.0))

    @property
    def active(self) -> Tensor:
        """The layer whose turn it is: `[layers]` bool, one of them true."""
        layers = torch.arange(len(self.hidden), device=self.progress.device)
        # A turn that begins at 1/3 begins there, although 1/3 is rounded down in float32.
        turn = (self.progress * len(self.hidden) + 1e-6).floor()
        return layers == turn.clamp(0, len(self.hidden) - 1)

    @property
    def matures(self) -> float:
        """The share at which the last layer's turn begins: before, layers are untrained."""
        return 1 - 1 / len(self.hidden)

    def prediction_loss(self, output: ModelOutput, y: Tensor) -> Tensor:
        """VCR `[batch]` of the layer whose turn it is."""
        layers = [vcr_of(output, layer) for layer in range(1, len(self.hidden) + 1)]
        return (self.active.unsqueeze(1) * torch.stack(layers)).sum(0)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """Compression of every layer in nats; one of them has a gradient to the network."""
        return {
            f"compression_{layer}": Term(compression_of(output, layer).mean(), self.beta)
            for layer in range(1, len(self.hidden) + 1)
        }
