"""One epoch of training, for a single model and for a stack, and all that it must remember.

Each step: run the models once; where there are critics, let them ascend on the detached output;
then descend the loss. Each epoch: validate at the latent's mean, keep each member's best weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrows.data import Dataset, epoch_rows
from narrows.errors import CheckpointError, DivergedError
from narrows.training.checkpoint import load_tensors, save_tensors
from narrows.training.members import Members, accuracies
from narrows.training.recipe import TrainConfig
from narrows.training.state import (
    adam_state,
    below,
    copy_tensors,
    load_adam,
    load_random_states,
    prefixed,
    random_states,
)
from narrows.training.weights import BestWeights, WeightAverage

__all__ = ["EpochRecord", "Trainer"]

# A loss is looked at this often: each look waits for the device, and names the exact step anyway.
_LOOK_EVERY = 50


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to: one number a member under each name."""

    epoch: int
    losses: Mapping[str, list[float]]
    validation_accuracy: list[float]
    best_epoch: list[int]
    seconds: float


@dataclass
class Trainer:
    """State of a training run, from which it can go on as if it had never stopped.

    Args:
        members: what is trained.
        train: what it learns from.
        validation: what it is chosen on.
        config: how it is trained.
    """

    members: Members
    train: Dataset
    validation: Dataset
    config: TrainConfig
    epoch: int = 0
    steps: int = 0
    history: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = self.config
        model = self._adam(config.learning_rate, config.adam_beta1, critic=False)
        critic = self._adam(config.critic_learning_rate, config.critic_adam_beta1, critic=True)
        both = {"model": model, "critic": critic}
        self._optimisers = {which: adam for which, adam in both.items() if adam}
        self._critic_steps = self.members.member(0).method.critic_steps
        live = self.members.named_tensors()
        self._average = WeightAverage(live, config.averaging)
        self._best = BestWeights(live, len(self.members))

    def _adam(self, rate: float, beta1: float, *, critic: bool) -> torch.optim.Adam | None:
        owned = self.members.parameters(critic=critic)
        return torch.optim.Adam(owned, rate, betas=(beta1, 0.999), fused=True) if owned else None

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or no member has improved for `patience` epochs."""
        waited = self.epoch - 1 - self._best.epoch.max().item()
        return self.epoch >= self.config.epochs or 0 < self.config.patience <= waited

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass over the training set."""
        return self.config.steps_per_epoch(len(self.train))

    def run_epoch(self, on_step: Callable[[], None] = lambda: None) -> EpochRecord:
        """Train one epoch and validate.

        Raises:
            DivergedError: naming epoch, step and member whose loss is no longer finite.
        """
        started = time.perf_counter()
        self._set_rates()
        sums: dict[str, Tensor] = {}
        pending: list[Tensor] = []
        step = 0
        for step, (x, y) in enumerate(self._batches()):
            parts = self._step(x, y)
            pending.append(parts["loss"])
            if len(pending) == _LOOK_EVERY:
                self._check_finite(pending, step)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0) + value
            on_step()
        self._check_finite(pending, step)
        accuracy = self._validate()
        record = EpochRecord(
            epoch=self.epoch,
            losses={name: (value / (step + 1)).tolist() for name, value in sums.items()},
            validation_accuracy=accuracy.tolist(),
            best_epoch=self._best.epoch.tolist(),
            seconds=time.perf_counter() - started,
        )
        self.history.append(record)
        self.epoch += 1
        return record

    def _set_rates(self) -> None:
        factor = self.config.rate_factor(self.epoch)
        rates = {"model": self.config.learning_rate, "critic": self.config.critic_learning_rate}
        for which, optimiser in self._optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = factor * rates[which]

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches `[members, batch, ...]`, each member's in the order of its own seed."""
        generators = self.members.order_generators
        for rows in epoch_rows(len(self.train), self.config.batch_size, generators):
            yield self.train.batch(rows.to(self.members.device)[self.members.seed_index])

    def _step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        seen = self.members.run("observe", x, y)
        for _ in range(self._critic_steps):
            detached = {name: value.detach() for name, value in seen.items()}
            self._descend("critic", self.members.run("critic_loss", detached, x, y))
        parts = self.members.run("terms", seen, x, y)
        self._descend("model", parts.pop("total"))
        self.steps += 1
        if self.config.averaging:
            self._average.update(self.members.named_tensors())
        return parts

    def _descend(self, which: str, losses: Tensor) -> None:
        if optimiser := self._optimisers.get(which):
            optimiser.zero_grad()
            # Only these: gradients of the other side and of the images would be for nothing.
            losses.sum().backward(inputs=optimiser.param_groups[0]["params"])
            optimiser.step()

    def _check_finite(self, pending: list[Tensor], step: int) -> None:
        losses = torch.stack(pending) if pending else torch.zeros(0, 1)
        first = step - len(pending) + 1
        pending.clear()
        if torch.isfinite(losses).all():
            return
        at, member = (~torch.isfinite(losses)).nonzero()[0].tolist()
        raise DivergedError(
            f"the loss of member {member} (seed {self.members.seeds[member]}) became "
            f"{losses[at, member].item()} in epoch {self.epoch}, batch {first + at}; "
            "lower train.learning_rate or beta"
        )

    def _validate(self) -> Tensor:
        """Accuracy of the weights that would be handed out, of which the best are kept."""
        if not self._average.sums:
            return self._validated()
        live = {name: tensor.clone() for name, tensor in self.members.named_tensors().items()}
        self.members.load(self._average.applied(live, self.steps))
        accuracy = self._validated()
        self.members.load(live)
        return accuracy

    def _validated(self) -> Tensor:
        accuracy = accuracies(self.members, self.validation)
        self._best.offer(self.members.named_tensors(), accuracy, self.epoch)
        return accuracy

    def best_members(self) -> Members:
        """The members with each one's best weights on the validation data, put in place."""
        self.members.load(self._best.tensors)
        return self.members

    def save(self, path: Path, identity: str) -> None:
        """Write everything to one file; `identity` says which run it belongs to.

        Raises:
            StoreError: if it cannot be written; an older checkpoint is then unchanged.
        """
        tensors = prefixed("run", self._tensors())
        for which, optimiser in self._optimisers.items():
            tensors |= prefixed(f"adam.{which}", adam_state(optimiser))
        tensors |= prefixed("random", random_states(self._generators(), self.members.device))
        header = {
            "format": 1,
            "identity": identity,
            "epoch": self.epoch,
            "steps": self.steps,
            "history": [vars(record) for record in self.history],
        }
        save_tensors(path, tensors, header)

    def resume(self, path: Path, identity: str) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError: if it is damaged or belongs to another run; this trainer is then of no
                further use.
        """
        tensors, header = load_tensors(path)
        if not isinstance(header, dict) or header.get("format") != 1:
            raise CheckpointError(f"{path} is not a checkpoint of a training run")
        if (found := header.get("identity")) != identity:
            raise CheckpointError(
                f"{path} belongs to another run (identity {found!r}, expected {identity!r}); "
                "choose another --out, or delete it to start over"
            )
        try:
            self._restore(tensors, header)
        except (CheckpointError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{path} does not fit this run: {reason}; delete it to start over"
            ) from error

    def _restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        copy_tensors(self._tensors(), below("run", tensors))
        for which, optimiser in self._optimisers.items():
            load_adam(optimiser, below(f"adam.{which}", tensors))
        load_random_states(self._generators(), self.members.device, below("random", tensors))
        self.epoch, self.steps = header["epoch"], header["steps"]
        self.history = [EpochRecord(**record) for record in header["history"]]

    def _tensors(self) -> dict[str, Tensor]:
        """Every live tensor that a checkpoint is copied into."""
        return {
            **prefixed("weights", self.members.named_tensors()),
            **prefixed("best", self._best.tensors),
            **prefixed("average", self._average.sums),
            "best_accuracy": self._best.accuracy,
            "best_epoch": self._best.epoch,
        }

    def _generators(self) -> dict[str, list[torch.Generator]]:
        return {"noise": self.members.generators, "order": self.members.order_generators}
