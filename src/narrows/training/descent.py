"""One step of training: run the models once, let critics ascend, descend the loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.training.config import TrainConfig
from narrows.training.members import Members
from narrows.training.optimisers import clip_gradients, critic_optimiser, model_optimiser
from narrows.training.ramps import Ramps
from narrows.training.state import below, load_optimiser, optimiser_state, prefixed

__all__ = ["Descent"]


class Descent:
    """What changes the weights of members that are run together: optimisers, and ramps of beta.

    Args:
        members: a stack or a single model.
        config: how they are trained.
        steps_per_epoch: batches of one pass over the training set.
    """

    def __init__(self, members: Members, config: TrainConfig, steps_per_epoch: int) -> None:
        self.members = members
        self._config = config
        self._owned = {w: members.parameters(critic=w == "critic") for w in ("model", "critic")}
        make = {"model": model_optimiser, "critic": critic_optimiser}
        self.optimisers = {w: make[w](own, config) for w, own in self._owned.items() if own}
        self._critic_steps = members.member(0).method.critic_steps
        self._ramps = Ramps(members.named_tensors(), config, steps_per_epoch)

    def before_epoch(self, epoch: int) -> None:
        """Set what is the same for a whole epoch."""
        factor = self._config.rate_factor(epoch)
        rates = {"model": self._config.learning_rate, "critic": self._config.critic_learning_rate}
        for which, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = factor * rates[which]
        self._ramps.before_epoch(epoch)

    def step(self, x: Tensor, y: Tensor, number: int) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            x: `[members, batch, ...]`.
            y: `[members, batch]`.
            number: of the step, counted from 0 over all epochs.

        Returns:
            The parts of the loss by name, `[members]` each.
        """
        self._ramps.before_step(number)
        seen = self._observe(x, y)
        for _ in range(self._critic_steps):
            detached = {name: value.detach() for name, value in seen.items()}
            self.descend("critic", self.members.run("critic_loss", detached, x, y))
        parts = self.members.run("terms", seen, x, y)
        self.descend("model", parts.pop("total"))
        return parts

    def _observe(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if self._config.precision == "float32":
            return self.members.run("observe", x, y)
        # No cache: what an attack casts without gradients is not what the loss is descended by.
        kind = self.members.device.type
        with torch.autocast(kind, torch.bfloat16, cache_enabled=False):
            seen = self.members.run("observe", x, y)
        half = torch.bfloat16
        return {name: v.float() if v.dtype == half else v for name, v in seen.items()}

    def descend(self, which: str, losses: Tensor) -> None:
        """One step of the optimiser of the `"model"` or the `"critic"` down `losses: [members]`."""
        if optimiser := self.optimisers.get(which):
            optimiser.zero_grad()
            # Only these: gradients of the other side and of the images would be for nothing.
            losses.sum().backward(inputs=self._owned[which])
            if which == "model" and self._config.clip_norm:
                stacked = self.members.stacked
                clip_gradients(self._owned[which], self._config.clip_norm, stacked=stacked)
            optimiser.step()

    def names(self, suffix: str) -> set[str]:
        """What the states of the optimisers are called in a checkpoint."""
        return {_name(optimiser, w, suffix) for w, optimiser in self.optimisers.items()}

    def state(self, suffix: str) -> dict[str, Tensor]:
        """State of the optimisers, under names that say which they are: `adam.model/...`."""
        saved = {}
        for which, optimiser in self.optimisers.items():
            saved |= prefixed(_name(optimiser, which, suffix), optimiser_state(optimiser))
        return saved

    def load_state(self, saved: Mapping[str, Tensor], suffix: str) -> None:
        """Inverse of `state`, from among other tensors.

        Raises:
            CheckpointError: naming the first parameter that the state doesn't fit.
        """
        for which, optimiser in self.optimisers.items():
            load_optimiser(optimiser, below(_name(optimiser, which, suffix), saved))


def _name(optimiser: torch.optim.Optimizer, which: str, suffix: str) -> str:
    return f"{type(optimiser).__name__.lower()}.{which}{suffix}"
