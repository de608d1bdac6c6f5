"""Networks of Bernoulli units: every hidden layer is a bottleneck of at most one bit per unit.

The binary draws are made from the normal numbers of `noise.py`, b = [n < Phi^-1(p)], so that a
stack gives each of its members the numbers that it would draw alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.errors import ConfigError, InputError, unknown_name
from narrows.models.bottleneck import Mode, Stochastic, check_mode
from narrows.models.noise import standard_normal
from narrows.models.precision import at_least_float32
from narrows.types import Latent, ModelOutput

__all__ = ["BinaryStochasticNet", "Gradient", "Reader", "Tree", "tree"]

Gradient = Literal["raiko", "straight_through", "reinforce"]
Reader = Callable[["BinaryStochasticNet", Tensor], Any]
"""A function of a network and its input, called in place of the plain forward pass."""


class BinaryStochasticNet(Stochastic):
    """A classifier with hidden layers of Bernoulli units; in mode `"mean"` a sigmoid network.

        z_0 = x,   a_l = W_l z_(l-1) + c_l
        p(z_l|z_(l-1)) = prod_i Bernoulli(z_l,i; sigmoid(a_l,i))
        p(y|x) = E_{z_1 ... z_L} softmax(W_(L+1) z_L + c_(L+1))_y

    A draw b has no derivative. `gradient` chooses what replaces it in the backward pass:

        "raiko"             p + stop_gradient(b - p): that of its mean, p = sigmoid(a)
        "straight_through"  a + stop_gradient(b - a): as if b were a itself
        "reinforce"         none; a method adds (loss - baseline) grad log p(b|a), the score

    Only `"reinforce"` is unbiased, and it needs the loss of each draw, which SFNN, JointIMB and
    GreedyIMB compute in a tree of draws. A plain forward pass does not know the loss and then uses
    `"raiko"`, so that an attack on such a network has a gradient. `"raiko"` is exact where the loss
    is linear in the draws of one layer.

    Source: Nguyen & Choi (2017), arXiv 1712.01272, section 4 and Algorithm 1, line 8 (trees of
    draws); Raiko, Berglund, Alain & Dinh (2015), arXiv 1406.2989; Bengio, Leonard & Courville
    (2013), arXiv 1308.3432; Williams (1992), Machine Learning 8.

    Args:
        inputs: width of the (flattened) input.
        hidden: widths of the stochastic layers, at least one.
        classes: number of classes.
        gradient: what replaces the derivative of a draw; see above.
        front: layers without noise before the first stochastic one: `[batch, ...]` to a tensor that
            flattens to `[batch, inputs]`; `None` for none.
        mode: `"sample"` draws every layer. `"mean"` passes on probabilities: a different,
            deterministic network, whose output is not the mean over draws.
        samples: independent draws per input; `None` means one, without a samples axis.

    Attributes:
        layers: the linear maps, the last of which returns the logits.

    Raises:
        ConfigError: for widths that are not positive, an unknown gradient or mode.
        InputError: in the forward pass, for inputs of another width.

    Example:
        >>> net = BinaryStochasticNet(4, [6, 3], classes=2, samples=5)
        >>> output = net(torch.rand(8, 4))
        >>> output.logits.shape, output.latent.mean.shape, list(output.activations)
        (torch.Size([5, 8, 2]), torch.Size([8, 3]), ['z1', 'z2'])
    """

    mean_is_model: ClassVar[bool] = False

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        classes: int,
        *,
        gradient: Gradient = "raiko",
        front: nn.Module | None = None,
        mode: Mode = "sample",
        samples: int | None = None,
    ) -> None:
        super().__init__(mode, samples)
        if not hidden or min(inputs, classes, *hidden) < 1:
            raise ConfigError(
                "a binary stochastic network needs inputs, classes and at least one hidden layer "
                f"of positive width, got {inputs}, {list(hidden)}, {classes}"
            )
        if gradient not in get_args(Gradient):
            raise unknown_name("gradient", gradient, get_args(Gradient))
        self.hidden = tuple(hidden)
        self.gradient: Gradient = gradient
        self.front = front
        widths = [inputs, *hidden, classes]
        self.layers = nn.ModuleList(nn.Linear(wide, narrow) for wide, narrow in pairwise(widths))
        for layer in self.linear_layers():
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def linear_layers(self) -> list[nn.Linear]:
        """The linear maps in order."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor, read: Reader | None = None) -> ModelOutput:
        """Logits, the last hidden layer as latent, and every hidden layer as `z1`, `z2`, ...

        The latent's `mean` is the probability of each unit, averaged over the draws of the layers
        below; its `scale` is None, since no Gaussian is meant.

        Args:
            x: `[batch, ...]`.
            read: called with the network and `x` in place of the forward pass; its result is
                returned. Methods draw their trees by it, through any wrapper of the network.
        """
        if read is not None:
            return read(self, x)
        check_mode(self.mode, self.samples)
        z, surrogate, activations = self.inputs(x), None, {}
        p = z
        *hidden, last = self.linear_layers()
        for number, layer in enumerate(hidden, start=1):
            a = _affine(layer, z, surrogate)
            z = p = a.sigmoid()
            if self.mode == "sample":
                z = _draw(a, self.samples if a.dim() == 2 else None)
                surrogate = a if self.gradient == "straight_through" else p
            activations[f"z{number}"] = z
        latent = Latent(z, p if p.dim() == 2 else p.mean(0))
        return ModelOutput(_affine(last, z, surrogate), latent, activations)

    def inputs(self, x: Tensor) -> Tensor:
        """The input of the first stochastic layer: `[batch, inputs]`."""
        z = (x if self.front is None else self.front(x)).flatten(1)
        wanted = self.linear_layers()[0].in_features
        if z.shape[1] != wanted:
            raise InputError(f"the network takes inputs of {wanted} numbers, got {z.shape[1]}")
        return z

    def extra_repr(self) -> str:
        """Show what is drawn and how it is differentiated."""
        return f"gradient={self.gradient!r}, {super().extra_repr()}"


class Tree(NamedTuple):
    """M draws of layer 1 per input, M draws of layer 2 for each of these, and so on.

    The nodes of layer l are M^l * batch rows in the order (m_l, ..., m_1, input), where the input
    changes fastest.

    Attributes:
        logits: `[M^L * batch, classes]`, of every leaf.
        scores: a_l, `[M^(l-1) * batch, units]` each: the layer's log-odds given every parent.
        codes: z_l, `[M^l * batch, units]` each, 0 or 1.
        samples: M.
    """

    logits: Tensor
    scores: tuple[Tensor, ...]
    codes: tuple[Tensor, ...]
    samples: int


def tree(
    model: BinaryStochasticNet, x: Tensor, *, samples: int = 32, held: Tensor | None = None
) -> Tree:
    """Draw a tree of codes for every input, in one pass without a loop over draws.

    The gradient of a parent's draw is summed over its children before it passes through weights.
    So the large tensors of the leaves are needed in the forward pass only, and have no gradient.

    Args:
        model: the network; its `samples` is ignored. In mode `"mean"` a tree is the single path of
            the probabilities, M = 1.
        x: `[batch, ...]`.
        samples: M, draws of a layer for each draw of the layer before.
        held: `[layers]` bool, hidden layers through which no gradient passes; `None` for none.

    Raises:
        ConfigError: for fewer than one draw.

    Example:
        >>> net = BinaryStochasticNet(4, [6, 3], classes=2)
        >>> tree(net, torch.rand(8, 4), samples=5).logits.shape
        torch.Size([200, 2])
    """
    if samples < 1:
        raise ConfigError(f"a tree needs at least one draw a layer, got samples={samples}")
    draws = model.mode == "sample"
    samples = samples if draws else 1
    z, surrogate = model.inputs(x), None
    scores, codes = [], []
    *hidden, last = model.linear_layers()
    for index, layer in enumerate(hidden):
        a = _affine(layer, z, surrogate)
        if held is not None:
            a = torch.where(held[index], a.detach(), a)
        p = a.sigmoid()
        z = _draw(a, samples).flatten(0, 1) if draws else p
        if draws and model.gradient != "reinforce":
            surrogate = p if model.gradient == "raiko" else a
        scores.append(a)
        codes.append(z)
    return Tree(_affine(last, z, surrogate), tuple(scores), tuple(codes), samples)


def _draw(a: Tensor, samples: int | None) -> Tensor:
    """Bernoulli draws of log-odds `a`, without a gradient; `samples` adds a leading axis."""
    a = a.detach()
    noise = standard_normal(a.shape if samples is None else (samples, *a.shape), a)
    edge = torch.special.ndtri(a.sigmoid())
    try:
        a.requires_grad_()
    except RuntimeError:  # inside vmap, where the comparison must create a new tensor
        return (noise < edge).to(a.dtype)
    # In place, since no tensor is larger than the leaves of a tree.
    return noise.lt_(edge)


def _affine(layer: nn.Linear, draws: Tensor, surrogate: Tensor | None) -> Tensor:
    """`layer(draws)`, whose derivative is that of `layer(surrogate)`, `surrogate: [parents, ...]`.

    Log-odds are computed in at least float32, which the normal quantile function needs.
    """
    out = at_least_float32(layer(draws.to(layer.weight.dtype)))
    if surrogate is None:
        return out
    slope = at_least_float32(F.linear(surrogate.to(layer.weight.dtype), layer.weight.detach()))
    nothing = slope - slope.detach()
    if out.dim() == nothing.dim() and len(out) != len(nothing):
        return (out.unflatten(0, (-1, len(nothing))) + nothing).flatten(0, 1)
    return out + nothing
