"""The training loop: one for a single model and for a stack, resumable to the last bit.

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
from narrows.training.members import Members
from narrows.training.recipe import TrainConfig

__all__ = ["EpochRecord", "Trainer", "fit"]

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
        config, count = self.config, len(self.members)
        self._optimisers = {
            "model": self._adam(config.learning_rate, config.adam_beta1, critic=False),
            "critic": self._adam(
                config.critic_learning_rate, config.critic_adam_beta1, critic=True
            ),
        }
        self._critic_steps = self.members.member(0).method.critic_steps
        tensors = self.members.named_tensors()
        self._best = {name: tensor.clone() for name, tensor in tensors.items()}
        self._best_accuracy = torch.full((count,), -1.0, dtype=torch.float64)
        self._best_epoch = torch.full((count,), -1)
        self._average = {
            name: torch.zeros_like(tensor)
            for name, tensor in tensors.items()
            if config.averaging and tensor.is_floating_point()
        }

    def _adam(self, rate: float, beta1: float, *, critic: bool) -> torch.optim.Adam | None:
        owned = self.members.parameters(critic=critic)
        return torch.optim.Adam(owned, rate, betas=(beta1, 0.999), fused=True) if owned else None

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or no member has improved for `patience` epochs."""
        waited = self.epoch - 1 - self._best_epoch.max().item()
        return self.epoch >= self.config.epochs or 0 < self.config.patience <= waited

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass over the training set."""
        return max(1, len(self.train) // self.config.batch_size)

    def run_epoch(self, on_step: Callable[[], None] = lambda: None) -> EpochRecord:
        """Train one epoch and validate.

        Raises:
            DivergedError: naming epoch, step and member whose loss is no longer finite.
        """
        started = time.perf_counter()
        for optimiser, rate in (
            (self._optimisers["model"], self.config.learning_rate),
            (self._optimisers["critic"], self.config.critic_learning_rate),
        ):
            for group in optimiser.param_groups if optimiser else ():
                group["lr"] = rate * self.config.rate_factor(self.epoch)
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
        self._keep_best(accuracy)
        record = EpochRecord(
            epoch=self.epoch,
            losses={name: (value / (step + 1)).tolist() for name, value in sums.items()},
            validation_accuracy=accuracy.tolist(),
            best_epoch=self._best_epoch.tolist(),
            seconds=time.perf_counter() - started,
        )
        self.history.append(record)
        self.epoch += 1
        return record

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
        with self.members.critic_held():
            parts = self.members.run("terms", seen, x, y)
            self._descend("model", parts.pop("total"))
        self.steps += 1
        self._update_average()
        return parts

    def _descend(self, which: str, losses: Tensor) -> None:
        optimiser = self._optimisers[which]
        if optimiser:
            optimiser.zero_grad()
            losses.sum().backward()
            optimiser.step()

    def _update_average(self) -> None:
        if self._average:
            live = self.members.named_tensors()
            for name, average in self._average.items():
                average.lerp_(live[name], 1 - self.config.averaging)

    def _check_finite(self, pending: list[Tensor], step: int) -> None:
        losses = torch.stack(pending)
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

    def _evaluated(self) -> dict[str, Tensor]:
        """The weights that are validated and kept: averaged where the recipe says so."""
        debias = 1 - self.config.averaging**self.steps
        averaged = {name: tensor / debias for name, tensor in self._average.items()}
        return {**self.members.named_tensors(), **averaged}

    def _validate(self) -> Tensor:
        live = {name: tensor.clone() for name, tensor in self.members.named_tensors().items()}
        if self._average:
            self.members.load(self._evaluated())
        accuracy = accuracies(self.members, self.validation)
        if self._average:
            self.members.load(live)
        return accuracy

    def _keep_best(self, accuracy: Tensor) -> None:
        better = accuracy > self._best_accuracy
        self._best_accuracy = torch.where(better, accuracy, self._best_accuracy)
        self._best_epoch[better] = self.epoch
        for name, tensor in self._evaluated().items():
            self._best[name][better] = tensor[better]

    def best_members(self) -> Members:
        """The members with each one's best weights on the validation data, put in place."""
        self.members.load(self._best)
        return self.members

    def save(self, path: Path, identity: str) -> None:
        """Write everything to one file; `identity` says which run it belongs to."""
        tensors: dict[str, Tensor] = {"best_accuracy": self._best_accuracy}
        tensors["best_epoch"] = self._best_epoch
        for group, values in self._groups().items():
            tensors |= {f"{group}/{name}": value for name, value in values.items()}
        for name, generators in self._generators().items():
            tensors |= {f"{name}/{i}": g.get_state() for i, g in enumerate(generators)}
        tensors["global_generator"] = torch.get_rng_state()
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
            CheckpointError: if it is damaged or belongs to another run.
        """
        tensors, header = load_tensors(path)
        if header.get("identity") != identity or header.get("format") != 1:
            raise CheckpointError(
                f"{path} belongs to another run (identity {header.get('identity')!r}, expected "
                f"{identity!r}); choose another --out, or delete it to start over"
            )
        try:
            self._restore(tensors, header)
        except (KeyError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"{path} is incomplete or damaged: {error}") from error

    def _restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        groups: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = tensor
        self.members.load(groups["weights"])
        for name, tensor in self._best.items():
            tensor.copy_(groups["best"][name])
        for name, tensor in self._average.items():
            tensor.copy_(groups["average"][name])
        for which, optimiser in self._optimisers.items():
            if optimiser:
                _load_adam(optimiser, groups.get(f"{which}_adam", {}))
        for name, generators in self._generators().items():
            for index, generator in enumerate(generators):
                generator.set_state(groups[name][str(index)])
        torch.set_rng_state(tensors["global_generator"])
        self._best_accuracy = tensors["best_accuracy"]
        self._best_epoch = tensors["best_epoch"]
        self.epoch, self.steps = header["epoch"], header["steps"]
        self.history = [EpochRecord(**record) for record in header["history"]]

    def _groups(self) -> dict[str, dict[str, Tensor]]:
        groups = {
            "weights": self.members.named_tensors(),
            "best": self._best,
            "average": self._average,
        }
        for which, optimiser in self._optimisers.items():
            if optimiser:
                groups[f"{which}_adam"] = _adam_state(optimiser)
        return groups

    def _generators(self) -> dict[str, list[torch.Generator]]:
        return {"noise": self.members.generators, "order": self.members.order_generators}


def fit(
    members: Members,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    *,
    checkpoint: Path | None = None,
    identity: str = "",
    on_epoch: Callable[[Trainer], None] = lambda trainer: None,
    on_step: Callable[[], None] = lambda: None,
) -> Trainer:
    """Train to the end, going on from `checkpoint` where that file exists.

    Args:
        members: what to train.
        train: the training set, on the members' device.
        validation: the set that the best epoch is chosen on.
        config: the recipe.
        checkpoint: where the state is kept; `None` keeps none.
        identity: what the checkpoint must say that it belongs to.
        on_epoch: called after each epoch, for progress and logs.
        on_step: called after each step.

    Returns:
        The finished trainer; `trainer.best_members()` holds the chosen weights.
    """
    trainer = Trainer(members, train, validation, config)
    with torch.random.fork_rng([]):
        torch.manual_seed(members.seeds[0])
        if checkpoint and checkpoint.exists():
            trainer.resume(checkpoint, identity)
        saved = time.monotonic()
        while not trainer.finished:
            trainer.run_epoch(on_step)
            due = time.monotonic() - saved >= config.checkpoint_seconds
            if checkpoint and (due or trainer.finished):
                trainer.save(checkpoint, identity)
                saved = time.monotonic()
            on_epoch(trainer)
    return trainer


def accuracies(members: Members, data: Dataset, block: int = 2048) -> Tensor:
    """Accuracy of every member at the latent's mean: `[members]`, float64."""
    correct = torch.zeros(len(members), dtype=torch.float64)
    for start in range(0, len(data), block):
        batch = data.batch(slice(start, start + block))
        predicted = members.run("predict", batch.x, shared=True).argmax(-1)
        correct += (predicted == batch.y).sum(1).cpu()
    return correct / len(data)


def _adam_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {f"{i}.{key}": value for i, slot in state.items() for key, value in slot.items()}


def _load_adam(optimiser: torch.optim.Optimizer, flat: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in flat.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
