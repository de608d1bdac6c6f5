"""The default hidden layers of a module, and the dropout mask.

    h'_i = h_i m_i / (1 - p),   m_i ~ Bernoulli(1 - p)

Source of the mask: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), JMLR 15,
section 4, scaled in training rather than in evaluation. The mask is made from the normal numbers of
`noise.py`, so that a stack gives each of its members the mask that it would draw alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from narrows.models.noise import standard_normal
from narrows.models.precision import at_least_float32

__all__ = ["drop_units", "hidden_layers"]

_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU),
    *(nn.Mish, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.Hardswish, nn.Hardtanh),
)
_WEIGHTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def hidden_layers(model: nn.Module) -> list[str]:
    """Names of the activation modules of `model`, in the order in which they are registered.

    A model without activation modules may call them as functions. Then the hidden layers are its
    linear and convolutional layers, without the last.

    Example:
        >>> hidden_layers(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
        ['1']
        >>> hidden_layers(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))
        ['0']
    """
    modules = list(model.named_modules())
    activations = [name for name, module in modules if name and isinstance(module, _ACTIVATIONS)]
    return activations or [name for name, module in modules if isinstance(module, _WEIGHTS)][:-1]


def drop_units(values: Tensor, rate: Tensor) -> Tensor:
    """Set each value to 0 with the probability `rate: []`, in [0, 1), and scale the others up."""
    kept = standard_normal(values.shape, values) > torch.special.ndtri(at_least_float32(rate))
    return values * kept / (1 - rate)
