"""A model and its method as one module, whose stages run for one member or for a whole stack."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from narrows.methods import Method
from narrows.models.bottleneck import latent_mode, resting_mode
from narrows.models.evaluating import evaluating
from narrows.models.outputs import logits_of, pack, unpack
from narrows.types import Batch

__all__ = ["Objective"]


class Objective(nn.Module):
    """One member of a training run: the model and the method that defines its loss.

    Arguments and results of a stage are tensors or dicts of tensors, so that `torch.func.vmap` can
    run the stage for many members at once.
    """

    def __init__(self, model: nn.Module, method: Method) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, stage: str, *args: object) -> dict[str, Tensor] | Tensor:
        """Run the stage of that name; `functional_call` can call `forward` only."""
        return getattr(self, stage)(*args)

    def observe(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Run the model on a batch."""
        return pack(self.method.observe(self.model, Batch(x, y)))

    def critic_loss(self, seen: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """Scalar that the critic minimises.

        Args:
            seen: detached result of `observe`.
            x: inputs `[batch, ...]`.
            y: labels `[batch]`.
        """
        return self.method.critic_loss(unpack(seen), Batch(x, y))

    def terms(self, seen: Mapping[str, Tensor], x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The loss as `total`, and its parts for the log.

        Args:
            seen: result of `observe`.
            x: inputs `[batch, ...]`.
            y: labels `[batch]`.
        """
        terms = self.method.terms(unpack(seen), Batch(x, y))
        return {"total": terms.total, **terms.values()}

    def predict(self, x: Tensor) -> Tensor:
        """Logits `[batch, classes]` at the latent's mean, without noise.

        Where the mean is a different network, as with binary units, averaged over draws.
        """
        mode = latent_mode(self.model, *resting_mode(self.model))
        with torch.no_grad(), evaluating(self.model), mode:
            return logits_of(self.model, x)
