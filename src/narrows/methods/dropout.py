"""Dropout: hidden units are set to zero at random in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from narrows.errors import ConfigError, InputError
from narrows.methods._base import Method
from narrows.models.hidden import drop_units, hidden_layers
from narrows.models.layers import Hook, hooked, layer_of, unwrapped
from narrows.models.outputs import as_output
from narrows.types import Batch, ModelOutput

__all__ = ["Dropout"]


class Dropout(Method):
    """Dropout: cross-entropy while hidden units are set to zero at random.

        L = E_m [-log q(y | x, m)],   h'_i = h_i m_i (1 + beta),   m_i ~ Bernoulli(1 / (1 + beta))

    Source: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), JMLR 15, section 4.

    Conversions: the dropped share is p = beta / (1 + beta); `Dropout.from_rate(0.5)` has beta = 1.
    beta is the variance of the multiplicative noise. To second order, dropout adds

        beta / 2 * sum_i h_i^2 d^2 L / dh_i^2

    to the loss, a penalty with the weight beta (Wager, Wang & Liang 2013, arXiv 1307.1493, for
    linear models). A sweep therefore varies beta as for the other methods, although the penalty is
    no bound of I(X;Z).

    Deviations: forward hooks drop the outputs of the hidden layers of any model in training mode;
    in evaluation mode the model is unchanged. Surviving units are scaled up in training, where the
    paper scales weights down in evaluation. Masks come from the seeded noise of a run, whereas
    those of `torch.nn.Dropout` come from torch's global generator, which all members of a stack
    share.

    Args:
        beta: variance of the noise, p / (1 - p) for a dropped share p; 1 drops half of the units.
        layers: names of the layers whose outputs are dropped, as in `model.named_modules()`; `None`
            for every activation function (see `narrows.models.hidden`).

    Raises:
        InputError: for a model without hidden layers, or without one that is named.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> method = Dropout.from_rate(0.5)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Srivastava et al. 2014, JMLR 15"
    needs = "hidden layers"
    randomness = "which hidden units are dropped"
    default_betas = (0.1, 0.25, 0.5, 1.0)

    def __init__(self, beta: float, layers: Sequence[str] | None = None) -> None:
        super().__init__(beta)
        self.layers = None if layers is None else tuple(layers)

    @classmethod
    def from_rate(cls, rate: float, layers: Sequence[str] | None = None) -> Self:
        """Build the method from p, the share of units that is dropped, in [0, 1)."""
        if not 0 <= rate < 1:
            raise ConfigError(f"the share of dropped units must lie in [0, 1), got {rate}")
        return cls(rate / (1 - rate), layers)

    @property
    def rate(self) -> Tensor:
        """The share of units that is dropped."""
        return self.beta / (1 + self.beta)

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Run the model with dropout in its hidden layers."""
        if not model.training:
            return as_output(model(batch.x))
        with hooked(model, dict.fromkeys(self._chosen(model), _dropped(self.rate))):
            return as_output(model(batch.x))

    def _chosen(self, model: nn.Module) -> Sequence[str]:
        names = hidden_layers(unwrapped(model)) if self.layers is None else self.layers
        if not names:
            raise InputError(
                f"dropout needs hidden layers, and {type(model).__name__} has no modules that are "
                "known as such; name some with layers=[...]"
            )
        for name in names:
            try:
                layer_of(model, name)
            except ConfigError as error:
                known = ", ".join(hidden_layers(unwrapped(model))) or "none"
                raise InputError(
                    f"the model has no layer {name!r} for dropout; its hidden layers: {known}"
                ) from error
        return names

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return f"{super().extra_repr()}, layers={self.layers}"


def _dropped(rate: Tensor) -> Hook:
    def hook(module: nn.Module, args: object, result: Tensor) -> Tensor:
        return drop_units(result, rate)

    return hook
