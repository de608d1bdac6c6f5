"""Joint information multi-bottlenecks: every layer of a binary network is a bottleneck."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.errors import ConfigError
from narrows.methods._imb import LayerBottlenecks, compression_of, vcr_of
from narrows.types import Batch, ModelOutput, Term

__all__ = ["JointIMB"]


class JointIMB(LayerBottlenecks):
    """Joint information multi-bottlenecks: every layer of a binary network is a bottleneck.

        L = sum_{l=0..L} gamma_l (H~(Y|Z_l) + beta I~(Z_l;Z_(l-1)))
        H~(Y|Z_l) = -E_{z_l|x} log E_{Z_L|z_l} p(y|Z_L) >= H(Y|Z_l)
        I~(Z_l;Z_(l-1)) = E sum_i KL(p(z_l,i|z_(l-1)) || r(z_l,i)) >= I(X;Z_l)

    Source: Nguyen & Choi (2017), arXiv 1712.01272, eqs. 6, 7, 10 and Algorithm 1. The priors r are
    learned. Layer 0 is the input: its first term is the network's negative log-likelihood (Theorem
    3.2), and it has no compression.

    Conversions: the paper minimises I(X;Z) - beta' I(Z;Y), which equals beta' (H(Y|Z) + I(X;Z) /
    beta') up to a constant: our beta is 1 / beta'. The 1e-4 of its experiments is read as our beta,
    since beta' = 1e-4 would give the relevance no weight. One beta serves all layers, as in its
    experiments.

    Deviations: none known. The paper trains MNIST with Adadelta; its published code trains with
    Adamax at 0.01 on batches of 16, gradients clipped at norm 5 and a patience of 20 epochs. Both
    are training settings; `paper()` has the numbers of the method itself.

    The priors r belong to the method: in a training loop of your own, give `method.parameters()` to
    the optimiser too.

    Args:
        beta: weight of every layer's compression.
        hidden: widths of the network's stochastic layers.
        gammas: weights of the layers 0 (the input) to L; `None` for 1 each. With beta = 0 and
            gammas 1, 0, 0, ... this is SFNN.
        samples: M, draws of a layer for each draw of the layer before.
        chunk: inputs whose trees are in memory at the same time; `None` for all.

    Raises:
        ConfigError: for numbers out of range, or another number of gammas than of layers.
        InputError: for a model without binary stochastic layers, or with layers of other widths.

    Example:
        >>> from narrows.models import BinaryStochasticNet
        >>> model = BinaryStochasticNet(4, [6, 3], classes=2)
        >>> method = JointIMB(beta=1e-4, hidden=[6, 3], samples=8)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    gammas: Tensor

    def __init__(
        self,
        beta: float,
        hidden: Sequence[int],
        gammas: Sequence[float] | None = None,
        samples: int = 32,
        chunk: int | None = None,
    ) -> None:
        super().__init__(beta, hidden, samples, chunk)
        weights = [1.0] * (len(hidden) + 1) if gammas is None else list(gammas)
        if len(weights) != len(hidden) + 1 or not all(0 <= weight < math.inf for weight in weights):
            raise ConfigError(
                f"JointIMB needs {len(hidden) + 1} gammas, of the input and of {len(hidden)} "
                f"layers, finite and at least 0; got {gammas}"
            )
        self.register_buffer("gammas", torch.tensor(weights, dtype=torch.float32))

    def prediction_loss(self, output: ModelOutput, y: Tensor) -> Tensor:
        """The term of layer 0 `[batch]`, for the labels that `observe` was given."""
        return self.gammas[0] * vcr_of(output, 0)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """Relevance and compression of every hidden layer, each in nats."""
        terms = {}
        for layer in range(1, len(self.hidden) + 1):
            gamma = self.gammas[layer]
            terms[f"vcr_{layer}"] = Term(vcr_of(output, layer).mean(), gamma)
            cost = compression_of(output, layer).mean()
            terms[f"compression_{layer}"] = Term(cost, gamma * self.beta)
        return terms

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        gammas = self.gammas.tolist() if self.gammas.dim() == 1 else "stacked"
        return f"{super().extra_repr()}, gammas={gammas}"
