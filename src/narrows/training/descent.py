"""One step of training: run the models, update the critics, update the models."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.models.noise import noise_of_rows
from narrows.training.config import TrainConfig
from narrows.training.members import Members
from narrows.training.optimisers import clip_gradients, critic_optimiser, model_optimiser
from narrows.training.processes import Processes
from narrows.training.ramps import Ramps
from narrows.training.state import below, load_optimiser, optimiser_state, prefixed

__all__ = ["Descent"]


class Descent:
    """The optimisers, and the ramps of beta, of members that are run together.

    Args:
        members: a stack or a single model.
        config: how they are trained.
        steps_per_epoch: batches of one pass over the training set.
        processes: which share each batch.
    """

    def __init__(
        self,
        members: Members,
        config: TrainConfig,
        steps_per_epoch: int,
        processes: Processes | None = None,
    ) -> None:
        self.members = members
        self._config = config
        self._processes = processes or Processes()
        self._owned = {
            role: members.parameters(critic=role == "critic") for role in ("model", "critic")
        }
        make = {"model": model_optimiser, "critic": critic_optimiser}
        self.optimisers = {
            role: make[role](owned, config) for role, owned in self._owned.items() if owned
        }
        self._critic_steps = members.member(0).method.critic_steps
        self._ramps = Ramps(members.named_tensors(), config, steps_per_epoch)

    def before_epoch(self, epoch: int) -> None:
        """Set learning rates and progress, which are constant in an epoch."""
        factor = self._config.rate_factor(epoch)
        rates = {"model": self._config.learning_rate, "critic": self._config.critic_learning_rate}
        for role, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = factor * rates[role]
        self._ramps.before_epoch(epoch)

    def step(self, x: Tensor, y: Tensor, number: int) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            x: `[members, batch, ...]`.
            y: `[members, batch]`.
            number: index of the step, counted from 0 over all epochs.

        Returns:
            The parts of the loss by name, `[members]` each.
        """
        self._ramps.before_step(number)
        if self._processes.count == 1:
            return self._step(x, y)
        size = y.shape[1]
        rows, weight = self._processes.share(size)
        with noise_of_rows(rows, size):
            parts = self._step(x[:, rows], y[:, rows], weight)
        parts = {name: weight * value.detach() for name, value in parts.items()}
        self._processes.add_up(list(parts.values()))
        return parts

    def _step(self, x: Tensor, y: Tensor, weight: float = 1.0) -> dict[str, Tensor]:
        seen = self._observe(x, y)
        for _ in range(self._critic_steps):
            detached = {name: value.detach() for name, value in seen.items()}
            self.descend("critic", self.members.run("critic_loss", detached, x, y))
        parts = self.members.run("terms", seen, x, y)
        total = parts.pop("total")
        self.descend("model", total if weight == 1 else weight * total)
        return parts

    def _observe(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if self._config.precision == "float32":
            return self.members.run("observe", x, y)
        # Without a cache: it would keep weights that an inner attack has cast without gradients.
        kind = self.members.device.type
        with torch.autocast(kind, torch.bfloat16, cache_enabled=False):
            seen = self.members.run("observe", x, y)
        half = torch.bfloat16
        return {name: v.float() if v.dtype == half else v for name, v in seen.items()}

    def descend(self, role: str, losses: Tensor) -> None:
        """One step of the optimiser of the `"model"` or the `"critic"` down `losses: [members]`."""
        if optimiser := self.optimisers.get(role):
            optimiser.zero_grad()
            # Only for these parameters: other gradients are not used.
            losses.sum().backward(inputs=self._owned[role])
            gradients = [p.grad for p in self._owned[role] if p.grad is not None]
            self._processes.add_up(gradients)
            if role == "model" and self._config.clip_norm:
                stacked = self.members.stacked
                clip_gradients(self._owned[role], self._config.clip_norm, stacked=stacked)
            optimiser.step()

    def names(self, suffix: str) -> set[str]:
        """Names of the optimisers' states in a checkpoint."""
        return {_name(optimiser, role, suffix) for role, optimiser in self.optimisers.items()}

    def state(self, suffix: str) -> dict[str, Tensor]:
        """States of the optimisers, by names such as `adam.model/...`."""
        saved = {}
        for role, optimiser in self.optimisers.items():
            saved |= prefixed(_name(optimiser, role, suffix), optimiser_state(optimiser))
        return saved

    def load_state(self, saved: Mapping[str, Tensor], suffix: str) -> None:
        """Inverse of `state`; `saved` may hold other tensors too.

        Raises:
            CheckpointError: naming the first parameter that the state does not fit.
        """
        for role, optimiser in self.optimisers.items():
            load_optimiser(optimiser, below(_name(optimiser, role, suffix), saved))


def _name(optimiser: torch.optim.Optimizer, role: str, suffix: str) -> str:
    return f"{type(optimiser).__name__.lower()}.{role}{suffix}"
