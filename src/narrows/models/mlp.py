"""Multi-layer perceptrons, and the input scaling that belongs to a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from narrows.errors import ConfigError

__all__ = ["Normalise", "mlp"]


class Normalise(nn.Module):
    """`(x - mean) / std` as a part of the model, so that attacks work on images in [0, 1]."""

    def __init__(self, mean: float = 0.5, std: float = 0.5) -> None:
        super().__init__()
        self.mean = mean
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift."""
        return (x * (1 / self.std)).sub_(self.mean / self.std)

    def extra_repr(self) -> str:
        """Mean and standard deviation."""
        return f"mean={self.mean}, std={self.std}"


def mlp(sizes: Sequence[int], *, final_activation: bool = False) -> nn.Sequential:
    """ReLU network of the given layer widths, Xavier-uniform weights and zero biases.

    Args:
        sizes: input width, hidden widths, output width; at least two.
        final_activation: whether a ReLU follows the last layer too.

    Raises:
        ConfigError: for fewer than two widths, or one that is not positive.

    Example:
        >>> mlp([4, 3, 2])[0]
        Linear(in_features=4, out_features=3, bias=True)
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ConfigError(f"an MLP needs at least two positive widths, got {list(sizes)}")
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        linear = nn.Linear(wide, narrow)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*(layers if final_activation else layers[:-1]))
