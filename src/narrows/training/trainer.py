"""One epoch of training, for a single model and for many, and the checkpoint of its state.

Steps are those of `descent.py`. After each epoch, members are validated at the latent's mean, and
each member's best weights are kept. A member whose loss is no longer finite has diverged; the other
members are not affected.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from narrows.data import Dataset
from narrows.errors import CheckpointError, ConfigError, DivergedError
from narrows.storage import convert_header, json_finite, load_tensors, save_tensors
from narrows.training.batches import seeded_batches
from narrows.training.config import TrainConfig
from narrows.training.descent import Descent
from narrows.training.members import Members, accuracies
from narrows.training.processes import Processes
from narrows.training.ramps import ramped
from narrows.training.records import CheckpointHeader, Divergence, EpochRecord
from narrows.training.state import (
    below,
    copy_tensors,
    load_random_states,
    prefixed,
    random_states,
)
from narrows.training.weights import BestWeights, WeightAverage

__all__ = ["Trainer"]

_KIND = "checkpoint of a training run"
_STATISTICS = ("running_mean", "running_var")
# Steps between two checks of the losses, each of which waits for the device.
_LOOK_EVERY = 50


@dataclass
class Trainer:
    """A training run that can be saved and continued without any change of its result.

    Args:
        members: the models that are trained.
        train: the training set.
        validation: the set on which the best epoch is chosen.
        config: the training settings.
        epoch: number of finished epochs.
        steps: number of finished steps.
        history: one record per finished epoch.
        diverged: members that have diverged, and where.
        processes: which train these members together, each with a share of every batch.

    Raises:
        ConfigError: for mixed precision or `channels_last` in a stack, or augmentation of inputs
            that are no images.
    """

    members: Members
    train: Dataset
    validation: Dataset
    config: TrainConfig
    epoch: int = 0
    steps: int = 0
    history: list[EpochRecord] = field(default_factory=list)
    diverged: dict[int, Divergence] = field(default_factory=dict)
    processes: Processes = field(default_factory=Processes)

    def __post_init__(self) -> None:
        self._check()
        if self.config.channels_last:
            for kernel in self.members.parameters(critic=False):
                if kernel.dim() == 4:  # a convolution returns images in the layout of its kernel
                    kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
        live = self.members.named_tensors()
        self._descents = [
            Descent(part, self.config, self.steps_per_epoch, self.processes)
            for part in self.members.parts()
        ]
        on_ramp = ramped(live, self.config)
        averaged = {name: tensor for name, tensor in live.items() if name not in on_ramp}
        self._average = WeightAverage(averaged, self.config.averaging)
        self._best = BestWeights(live, len(self.members))
        member = self.members.member(0)
        self._weights = [name for name, _ in member.named_parameters()]
        mature = math.ceil(member.method.matures * self.config.epochs - 1e-6)
        self._first_choice = min(max(self.config.beta_ramp, mature), self.config.epochs - 1)

    def _check(self) -> None:
        if self.members.stacked and not self.config.stackable:
            half = self.config.precision == "bfloat16"
            raise ConfigError(
                f"train.{'precision is bfloat16' if half else 'channels_last is true'}, which has "
                "no effect in a vectorised step; train the members with Looped, or "
                f"{'in float32' if half else 'set it to false'}"
            )
        if self.config.augment != "none" and (not self.train.image or len(self.train.shape) != 3):
            raise ConfigError(
                f"train.augment moves images [channels, height, width], and {self.train.name} has "
                f"inputs of shape {list(self.train.shape)}; set it to none"
            )

    @property
    def lost(self) -> bool:
        """Whether every member has diverged, so that there is nothing left to train."""
        return len(self.diverged) == len(self.members)

    @property
    def finished(self) -> bool:
        """Whether training is over: all epochs are done, patience has run out, or all diverged."""
        if self.lost:
            return True
        # Patience counts from the epoch after which beta and the method's loss are constant.
        last = max(self._best.epoch.max().item(), self._first_choice - 1)
        waited = self.epoch - 1 - last
        return self.epoch >= self.config.epochs or 0 < self.config.patience <= waited

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass over the training set."""
        return self.config.steps_per_epoch(len(self.train))

    def run_epoch(self, on_step: Callable[[], None] = lambda: None) -> EpochRecord:
        """Train one epoch and validate.

        Raises:
            DivergedError: if no member is left, naming the first one, its epoch and step; the
                epoch ends there and is recorded up to that step.
        """
        started = time.perf_counter()
        for descent in self._descents:
            descent.before_epoch(self.epoch)
        sums: dict[str, Tensor] = {}
        pending: list[Tensor] = []
        step = 0
        batches = seeded_batches(self.train, self.members, self.config)
        for step, (x, y) in enumerate(batches):
            parts = self._step(x, y)
            pending.append(parts["loss"])
            for name, value in parts.items():
                sums[name] = sums.get(name, 0) + value
            on_step()
            if len(pending) == _LOOK_EVERY:
                self._check_finite(pending, step)
                if self.lost:
                    break
        self._check_finite(pending, step)
        self._average_statistics()
        self._check_weights(step)
        record = EpochRecord(
            epoch=self.epoch,
            losses={
                name: json_finite((value / (step + 1)).tolist()) for name, value in sums.items()
            },
            validation_accuracy=json_finite(self._validate().tolist()),
            best_epoch=self._best.epoch.tolist(),
            seconds=time.perf_counter() - started,
        )
        self.history.append(record)
        self.epoch += 1
        self.check_any_left()
        return record

    def _step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        sizes = [len(descent.members) for descent in self._descents]
        listed = [
            descent.step(part_x, part_y, self.steps)
            for descent, part_x, part_y in zip(
                self._descents, x.split(sizes), y.split(sizes), strict=True
            )
        ]
        self.steps += 1
        if self.config.averaging:
            self._average.update(self.members.named_tensors())
        if len(listed) == 1:
            return listed[0]
        return {name: torch.cat([parts[name] for parts in listed]) for name in listed[0]}

    def _check_finite(self, pending: list[Tensor], step: int) -> None:
        losses = torch.stack(pending) if pending else torch.zeros(0, 1)
        first = step - len(pending) + 1
        pending.clear()
        if torch.isfinite(losses).all():
            return
        for at, member in (~torch.isfinite(losses)).nonzero().tolist():
            where = Divergence(self.epoch, first + at, str(losses[at, member].item()))
            self.diverged.setdefault(member, where)

    def _average_statistics(self) -> None:
        """Make the running statistics those of all processes, as the weights are."""
        if self.processes.count > 1:
            tensors = self.members.named_tensors()
            kept = {n: t for n, t in tensors.items() if n.rpartition(".")[2] in _STATISTICS}
            self.processes.average(list(kept.values()))
            self.members.load(tensors)

    def _check_weights(self, step: int) -> None:
        """Find members whose weights the last step made infinite, which no loss shows yet."""
        tensors = self.members.named_tensors()
        rows = [tensors[name].reshape(len(self.members), -1) for name in self._weights]
        fine = torch.stack([torch.isfinite(row).all(1) for row in rows]).all(0)
        for (member,) in (~fine).nonzero().tolist():
            where = Divergence(self.epoch, step, "infinite or nan", "weights")
            self.diverged.setdefault(member, where)

    def check_any_left(self) -> None:
        """Refuse to continue where every member has diverged.

        Raises:
            DivergedError: naming the member that diverged first.
        """
        if self.lost:
            # The dict is in the order in which members diverged.
            raise DivergedError(self.why_diverged(next(iter(self.diverged))))

    def why_diverged(self, member: int) -> str:
        """One sentence on a member that has diverged."""
        epoch, batch, value, where = self.diverged[member]
        return (
            f"the {where} of member {member} (seed {self.members.seeds[member]}) became "
            f"{value} in epoch {epoch}, batch {batch}; lower train.learning_rate or beta"
        )

    def _validate(self) -> Tensor:
        """Validation accuracy of the (averaged) weights, of which the best are kept."""
        if self.lost:
            return torch.full((len(self.members),), math.nan)
        if not self._average.sums:
            return self._validated()
        live = {name: tensor.clone() for name, tensor in self.members.named_tensors().items()}
        self.members.load(self._average.applied(live, self.steps))
        accuracy = self._validated()
        self.members.load(live)
        return accuracy

    def _validated(self) -> Tensor:
        accuracy = accuracies(self.members, self.validation)
        diverged = list(self.diverged)
        if self.epoch >= self._first_choice:
            offered = accuracy.index_fill(0, torch.tensor(diverged, dtype=torch.int64), -1.0)
            self._best.offer(self.members.named_tensors(), offered, self.epoch)
        accuracy[diverged] = math.nan
        return accuracy

    def best_members(self) -> Members:
        """The members, set to the weights that were best on the validation data."""
        self.members.load(self._best.tensors)
        return self.members

    def save(self, path: str | Path, identity: str) -> None:
        """Write the whole state to one file, with the identity of the run.

        Raises:
            StoreError: if it cannot be written; an older checkpoint is then unchanged.
        """
        tensors = prefixed("run", self._tensors())
        for suffix, descent in self._named_descents():
            tensors |= descent.state(suffix)
        tensors |= prefixed("random", random_states(self._generators(), self.members.device))
        header = {
            "format": 1,
            "identity": identity,
            "epoch": self.epoch,
            "steps": self.steps,
            "history": [vars(record) for record in self.history],
            "diverged": list(self.diverged.items()),
        }
        save_tensors(path, tensors, header)

    def resume(self, path: str | Path, identity: str) -> None:
        """Load a checkpoint and continue from it.

        Raises:
            CheckpointError: if it is damaged or belongs to another run; this trainer must then not
                be used any more.
        """
        tensors, plain = load_tensors(path, kind=_KIND)
        if plain.get("format") != 1:
            raise CheckpointError(f"{path} is not a {_KIND}")
        if (other := plain.get("identity")) != identity:
            raise CheckpointError(
                f"{path} belongs to another run (identity {other!r}, expected {identity!r}); "
                "choose another --out, or delete it to start over"
            )
        try:
            self._restore(tensors, convert_header("it", plain, CheckpointHeader))
        except (CheckpointError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{path} does not fit this run: {reason}; delete it to start over"
            ) from error

    def _restore(self, tensors: dict[str, Tensor], header: CheckpointHeader) -> None:
        if not header.fits(len(self.members), self.config.epochs):
            raise CheckpointError(
                f"its header lists {header.epoch} epochs in {len(header.history)} records, of "
                "other members, or of more epochs than there are"
            )
        saved = below("run", tensors)
        copy_tensors(self._tensors(), saved)
        self.members.load(below("weights", saved))
        known = {"run", "random"}
        for suffix, descent in self._named_descents():
            descent.load_state(tensors, suffix)
            known |= descent.names(suffix)
        if foreign := sorted({name.partition("/")[0] for name in tensors} - known):
            raise CheckpointError(f"it holds {foreign[0]}, which this run does not have")
        load_random_states(self._generators(), self.members.device, below("random", tensors))
        self.epoch, self.steps = header.epoch, header.steps
        self.history, self.diverged = header.history, dict(header.diverged)

    def _tensors(self) -> dict[str, Tensor]:
        """The tensors of a checkpoint other than those of optimisers and generators."""
        return {
            **prefixed("weights", self.members.named_tensors()),
            **prefixed("best", self._best.tensors),
            **prefixed("average", self._average.sums),
            "best_accuracy": self._best.accuracy,
            "best_epoch": self._best.epoch,
        }

    def _named_descents(self) -> Iterator[tuple[str, Descent]]:
        for index, descent in enumerate(self._descents):
            yield (f".{index}" if len(self._descents) > 1 else ""), descent

    def _generators(self) -> dict[str, list[torch.Generator]]:
        members = self.members
        named = {"noise": members.generators, "order": members.order_generators}
        if self.config.augment != "none":
            named["augment"] = members.augment_generators
        return named
