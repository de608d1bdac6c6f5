"""A run, read back from its folder: configuration, models, records.

run = Run.open("runs/digits-4ddf399127")
for record in run.records():
    print(record.member, record.accuracy.test)
model = run.model(run.member("vib", beta=0.1))
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from narrows.checks import check_path
from narrows.data import Splits
from narrows.errors import CheckpointError, ConfigError, DivergedError, StoreError
from narrows.methods import Method
from narrows.methods.adversarial import Adversarial
from narrows.runs.building import build_objective
from narrows.runs.config import ResolvedConfig
from narrows.runs.data import load_run_splits, read_data_record
from narrows.runs.environment import Environment
from narrows.runs.files import read_json, read_lines
from narrows.runs.layout import CONFIG, RECORD, MethodDone, MethodFiles, WeightsHeader
from narrows.runs.pictures import check_pictures
from narrows.runs.records import LostMember, Member, MemberRecord
from narrows.runs.summary import MethodSummary, chosen_beta, summarise
from narrows.storage import convert_header, load_tensors
from narrows.training import EpochRecord, Objective, Solo

__all__ = ["Run", "load_member"]


class Run:
    """The folder of a run, opened for reading; nothing is created or changed in it.

    Configuration, weights and records are read at most once, when they are first needed.

    Attributes:
        path: of the folder.
        config: every setting.

    Example:
        >>> Run.open("nowhere")
        Traceback (most recent call last):
            ...
        narrows.errors.StoreError: there is no folder nowhere
    """

    def __init__(self, path: Path, config: ResolvedConfig) -> None:
        self.path = path
        self.config = config
        self._weights: dict[str, tuple[dict[str, Tensor], WeightsHeader]] = {}
        self._records: dict[str, list[MemberRecord]] = {}

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open the folder that `narrows run` or `narrows train` has written.

        Raises:
            StoreError: for a folder that is no run's, or a damaged configuration.
        """
        folder = check_path(path)
        if not folder.is_dir():
            raise StoreError(f"there is no folder {folder}")
        if not (folder / CONFIG).exists():
            raise StoreError(f"{folder} is not the folder of a run: it has no {CONFIG}")
        return cls(folder, read_json(folder / CONFIG, "configuration", ResolvedConfig))

    def __repr__(self) -> str:
        return f"Run.open({str(self.path)!r})"

    @cached_property
    def environment(self) -> Environment:
        """Versions, hardware and commit that the run started on."""
        return read_json(self.path / "environment.json", "environment", Environment)

    @property
    def finished_methods(self) -> list[str]:
        """The methods whose models are all trained and measured."""
        return [method for method in self.config.methods if self.files(method).done.exists()]

    @property
    def complete(self) -> bool:
        """Whether all methods are."""
        return self.finished_methods == self.config.methods

    def require_complete(self) -> Run:
        """Return the run itself.

        Raises:
            StoreError: if it is not complete.
        """
        if not self.complete:
            raise StoreError(
                f"{self.path} is not finished; repeat the command that started it to continue"
            )
        return self

    def files(self, method: str) -> MethodFiles:
        """Paths of the files of one method."""
        return MethodFiles(self.path / method)

    def members(
        self,
        methods: Sequence[str] | None = None,
        betas: Sequence[float] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[Member]:
        """The trained models.

        Args:
            methods: which methods; `None` for all.
            betas: which betas, of those methods; `None` for all.
            seeds: which seeds; `None` for all.

        Raises:
            StoreError: for a method that has not been trained to the end.
            ConfigError: for a method, beta or seed that the run does not have.
        """
        chosen = [
            _choose("method", method, self.config.methods)
            for method in (self.config.methods if methods is None else methods)
        ]
        members = [member for method in chosen for member in self._stored(method)]
        all_betas = sorted({member.beta for member in members})
        all_seeds = sorted({member.seed for member in members})
        wanted_betas = _choose_all("beta", betas, all_betas)
        wanted_seeds = _choose_all("seed", seeds, all_seeds)
        return [m for m in members if m.beta in wanted_betas and m.seed in wanted_seeds]

    def require_members(
        self, methods: Sequence[str] | None = None, betas: Sequence[float] | None = None
    ) -> list[Member]:
        """The trained models, of which there must be one; see `members`.

        Raises:
            StoreError: if there is none, because all have diverged.
        """
        members = self.members(methods, betas)
        if not members:
            raise StoreError(
                f"there is no trained model of these in {self.path}: all have diverged"
            )
        return members

    def check_diverged(self) -> None:
        """Report the methods of which no model is left.

        Raises:
            DivergedError: naming them and the first reason of each.
        """
        lost = [
            f"{method}: every model diverged, {self.lost(method)[0].error}"
            for method in self.config.methods
            if not self._stored(method)
        ]
        if lost:
            raise DivergedError(f"{'; '.join(lost)}. Try a smaller beta or learning rate")

    def member(
        self, method: str | None = None, beta: float | None = None, seed: int | None = None
    ) -> Member:
        """One trained model.

        Args:
            method: which method's; `None` where there is only one.
            beta: `None` for the one chosen on validation data.
            seed: `None` for the first there is.

        Raises:
            StoreError: for a method that has not been trained to the end, or of which every model
                has diverged.
            ConfigError: for a method, beta or seed that the run does not have, naming those it has.
        """
        name = _choose("method", method, self.config.methods)
        members = self._stored(name)
        if not members:
            reasons = "; ".join(dict.fromkeys(lost.error for lost in self.lost(name)))
            raise StoreError(f"every model of {name} in {self.path} has diverged: {reasons}")
        if beta is None:
            beta = chosen_beta(self.records([name]))
        chosen = _choose("beta", beta, list(dict.fromkeys(member.beta for member in members)))
        seeds = [member.seed for member in members if member.beta == chosen]
        return Member(name, chosen, _choose("seed", seeds[0] if seed is None else seed, seeds))

    def model(self, member: Member) -> nn.Module:
        """Rebuild a trained model, in evaluation mode on the CPU.

        Returns:
            The network without its method, with the weights of its best epoch.

        Raises:
            StoreError, ConfigError: as `member`.
            CheckpointError: for weights that are damaged or do not fit the configuration.
        """
        return self._objective(member).model.eval()

    def method(self, member: Member) -> Method:
        """The method that a model was trained with, its critic included.

        Returns:
            The method alone, without adversarial training around it: `method(model, x, y)` is its
            loss.

        Raises:
            StoreError, ConfigError, CheckpointError: as `model`.
        """
        method = self._objective(member).method
        return method.method if isinstance(method, Adversarial) else method

    def _objective(self, member: Member) -> Objective:
        stored = self._stored(member.method)
        if member not in stored:
            raise ConfigError(f"{member} is not among the trained models of {self.path}")
        tensors, header = self._weights[member.method]
        objective = build_objective(self.config, member, header.shape, header.classes)
        index = stored.index(member)
        Solo(objective, member.seed).load({k: v[index : index + 1] for k, v in tensors.items()})
        return objective

    def records(self, methods: Sequence[str] | None = None) -> list[MemberRecord]:
        """What was measured on each trained model, of the given methods or of all.

        Raises:
            StoreError: for a method that is not finished, or a damaged record.
        """
        wanted = self.config.methods if methods is None else methods
        for method in wanted:
            if method not in self._records:
                files, members = self.files(method), self._stored(method)
                self._records[method] = [
                    _read_record(files.record(member), member) for member in members
                ]
        return [record for method in wanted for record in self._records[method]]

    def lost(self, method: str) -> list[LostMember]:
        """The models of a method that have diverged, and why."""
        self._stored(method)
        return self._weights[method][1].lost

    def history(self, method: str) -> list[EpochRecord]:
        """Losses and validation accuracy of each epoch, also of an unfinished training.

        Raises:
            StoreError: for a history that is damaged or has lost epochs.
        """
        files = self.files(method)
        records = read_lines(files.history, "history", EpochRecord)
        if files.done.exists():
            epochs = read_json(files.done, "completion mark", MethodDone).epochs
            # Where every model has diverged, there is no trainer left to count the epochs.
            if epochs and len(records) != epochs:
                raise StoreError(
                    f"{files.history} has {len(records)} of {epochs} epochs: it has changed since "
                    "it was written; restore a copy"
                )
        return records

    @cached_property
    def summary(self) -> dict[str, MethodSummary]:
        """Means, chosen beta and knee of each method of a complete run."""
        self.require_complete()
        return {method: summarise(self.records([method])) for method in self.config.methods}

    def pictures(self, method: str) -> dict[str, Tensor]:
        """Projections and attacked images of a method, for its report.

        Raises:
            CheckpointError: for a file that is damaged, or holds other tensors.
        """
        path = self.files(method).pictures
        return check_pictures(path, load_tensors(path, kind="file of pictures")[0])

    @cached_property
    def splits(self) -> Splits:
        """The data of the run.

        Raises:
            ConfigError: if they have changed since, saying what differs.
            DataError: if they are not where they were.
        """
        return load_run_splits(self.config, self.path)

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        method = self.config.methods[0]
        self._stored(method)
        return self._weights[method][1].classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        method = self.config.methods[0]
        self._stored(method)
        return tuple(self._weights[method][1].shape)

    @cached_property
    def class_names(self) -> list[str]:
        """What the classes are called, in their order; empty for their numbers."""
        record = read_data_record(self.path)
        return [] if record is None else record.class_names

    def _stored(self, method: str) -> list[Member]:
        """The models in a finished method's file of weights."""
        if method not in self._weights:
            files = self.files(method)
            if not files.done.exists():
                raise StoreError(
                    f"{self.path} has no finished {method}; repeat the command that started it to "
                    "continue"
                )
            self._weights[method] = read_weights(files.models)
        return [Member(method, m.beta, m.seed) for m in self._weights[method][1].members]


def read_weights(path: Path) -> tuple[dict[str, Tensor], WeightsHeader]:
    """Weights `[members, ...]` by name, and which members they are of.

    Raises:
        CheckpointError: for a file that is damaged or of another kind.
    """
    tensors, plain = load_tensors(path, kind="file of weights")
    header = convert_header(path, plain, WeightsHeader)
    count = len(header.members)
    if any(not tensor.dim() or len(tensor) != count for tensor in tensors.values()):
        raise CheckpointError(f"{path} does not hold {count} models, as its header says")
    return tensors, header


def _read_record(path: Path, member: Member) -> MemberRecord:
    record = read_json(path, RECORD, MemberRecord)
    if record.member != member:
        raise StoreError(f"{path} is the record of {record.member}, expected that of {member}")
    return record


def load_member(
    folder: str | Path,
    method: str | None = None,
    beta: float | None = None,
    seed: int | None = None,
) -> nn.Module:
    """Rebuild one trained model from the folder of a run; see `Run.member` and `Run.model`.

    Args:
        folder: of the run.
        method: which method's; `None` where there is only one.
        beta: `None` for the one chosen on validation data.
        seed: `None` for the first there is.

    Example:
        >>> load_member("nowhere", "vib", beta=0.1)
        Traceback (most recent call last):
            ...
        narrows.errors.StoreError: there is no folder nowhere
    """
    run = Run.open(folder)
    return run.model(run.member(method, beta, seed))


def _choose(kind: str, given: Any, present: Sequence[Any]) -> Any:
    """The given one, or the only one."""
    if given is None and len(present) == 1:
        return present[0]
    if given not in present:
        reason = "must be named" if given is None else f"{given} is not in this run"
        raise ConfigError(f"{kind} {reason}; valid: {', '.join(map(str, present))}")
    return given


def _choose_all(kind: str, given: Sequence[Any] | None, present: Sequence[Any]) -> Sequence[Any]:
    return present if given is None else [_choose(kind, value, present) for value in given]
