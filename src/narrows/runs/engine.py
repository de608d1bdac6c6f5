"""Carry a run out: train, measure, summarise; whatever a broken run has finished is kept."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from narrows.data import Splits
from narrows.errors import ConfigError, DivergedError, StoreError
from narrows.methods import METHODS
from narrows.runs.building import build_members, build_objective, try_method
from narrows.runs.config import ResolvedConfig
from narrows.runs.data import describe_data, load_splits, read_data_record
from narrows.runs.environment import record_environment
from narrows.runs.evaluate import attacked_pictures, evaluate_models, measured_together, project
from narrows.runs.files import locked_folder, make_folder, read_json, write_json, write_lines
from narrows.runs.layout import (
    CONFIG,
    DONE,
    RECORD,
    SUMMARY,
    MethodDone,
    MethodFiles,
    RunDone,
    StoredMember,
    WeightsHeader,
)
from narrows.runs.progress import Progress
from narrows.runs.records import LostMember, Measurements, Member, MemberRecord, stacks_of
from narrows.runs.run import Run, read_weights
from narrows.runs.summary import chosen_beta
from narrows.storage import save_tensors
from narrows.training import Looped, Processes, Solo, Trainer, fit

__all__ = ["carry_out", "check_device", "follow"]


def carry_out(
    config: ResolvedConfig, out: Path, progress: Progress, processes: Processes | None = None
) -> Run:
    """Train, measure and summarise everything in `config`; return the run.

    What an earlier, broken run of the same configuration has finished is kept and not repeated.
    A method of which every model diverges does not stop the others.

    Args:
        config: what is trained and measured.
        out: folder in which the run's own folder is made.
        progress: where progress is shown.
        processes: which train the models together; this is the first of them.

    Raises:
        NarrowsError: of one kind or another for anything that a user can cause.
        DivergedError: at the end, if no model of any method is left.
    """
    check_device(config.device)
    splits, digest = load_splits(config)
    config = replace(config, data_sha256=digest)
    _check(config, splits)
    processes = processes or Processes()
    _check_shared(config, processes)
    splits = Splits(*(part.to(config.device) for part in splits))
    with locked_folder(out / f"{config.data_name}-{config.identity()}") as folder:
        _claim(folder, config, splits, progress)
        for method in config.methods:
            files = MethodFiles(folder / method)
            _MethodTask(config, method, splits, files, progress, processes).complete()
        finished = Run.open(folder)
        write_json(folder / SUMMARY, "summary", finished.summary)
        write_json(folder / DONE, "completion mark", RunDone(config.methods, splits.test.classes))
    if not finished.members():
        finished.check_diverged()
    return finished


def follow(config: ResolvedConfig, out: Path, processes: Processes) -> None:
    """Train what the first process trains, with a share of every batch; nothing is written.

    Args:
        config: as for `carry_out`, likewise `out`.
        processes: those of the training.
    """
    splits = None
    while (method := processes.announced()) is not None:
        if splits is None:
            splits, digest = load_splits(config)
            config = replace(config, data_sha256=digest)
            splits = Splits(*(part.to(config.device) for part in splits))
        files = MethodFiles(out / f"{config.data_name}-{config.identity()}" / method)
        task = _MethodTask(config, method, splits, files, Progress(), processes)
        with suppress(DivergedError):  # of all models, which the first process reports
            task.fit(len(config.members(method)))


def check_device(device: str) -> None:
    """Refuse a device that this machine doesn't have, before any work is done on another.

    Raises:
        ConfigError: saying why.
    """
    try:
        kind = torch.zeros(1, device=device).cpu().device.type
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
        raise ConfigError(f"device {device!r} cannot be used here ({reason}); try 'cpu'") from error
    if kind != "cpu":
        raise ConfigError(f"device {device!r} holds no numbers; try 'cpu'")


def _check(config: ResolvedConfig, splits: Splits) -> None:
    for part, data in splits._asdict().items():
        if len(data) < 2 and part != "validation":
            raise ConfigError(
                f"the {part} set of {config.data_name} has {len(data)} sample; at least two are "
                "needed to measure information"
            )
    if config.adversarial is not None and not splits.train.image:
        raise ConfigError(
            f"adversarial training changes images in [0, 1], and {config.data_name} has none; "
            "leave adversarial out"
        )
    for method in config.methods:
        try_method(config, method, splits.train.shape, splits.train.classes)


def _check_shared(config: ResolvedConfig, processes: Processes) -> None:
    if processes.count == 1:
        return
    for method in config.methods:
        if reason := METHODS[method].couples:
            raise ConfigError(
                f"{method} cannot be trained by {processes.count} processes that share each batch: "
                f"{reason}; train it in one process"
            )


def _claim(folder: Path, config: ResolvedConfig, splits: Splits, progress: Progress) -> None:
    """Say whose folder it is, or make sure that it is the same run's."""
    path = folder / CONFIG
    stored = read_json(path, "configuration", ResolvedConfig) if path.exists() else None
    # Files of the user's own may have moved; hashes say that their content is the same.
    if stored is not None and stored.without_places() != config.without_places():
        raise StoreError(f"{folder} holds another run; choose another --out")
    read_data_record(folder)  # refused where it is damaged
    if stored is None:
        describe_data(folder, config, splits)
        for note in splits.train.notes:
            progress.note(f"{config.data_name}: {note}")
    if stored != config:
        write_json(path, "configuration", config)
    record_environment(folder, config.device, progress, finished=(folder / DONE).exists())


class _MethodTask:
    """One method of a run: train its models, measure each, draw its pictures."""

    def __init__(
        self,
        config: ResolvedConfig,
        method: str,
        splits: Splits,
        files: MethodFiles,
        progress: Progress,
        processes: Processes,
    ) -> None:
        self.config, self.method, self.splits = config, method, splits
        self.files, self.progress, self.processes = files, progress, processes
        self.shape, self.classes = splits.train.shape, splits.train.classes

    def complete(self) -> None:
        """Do what is not done yet."""
        if self.files.done.exists():
            self.progress.note(f"{self.method}: finished before, kept")
            return
        make_folder(self.files.folder / "records")
        if not self.files.models.exists():
            self._train()
        tensors, header = read_weights(self.files.models)
        records = self._measure(tensors, header)
        if records:
            self._draw(tensors, header, records)
        for lost in header.lost:
            self.progress.note(f"{self.method}, beta {lost.beta:g}, left out: {lost.error}")
        # Before the mark, so that a process that is killed in between leaves no checkpoint behind.
        self.files.checkpoint.unlink(missing_ok=True)
        write_json(self.files.done, "completion mark", MethodDone(header.epochs, header.steps))

    def _train(self) -> None:
        """Train all models of the method and store those that have not diverged."""
        grid = self.config.members(self.method)
        try:
            self.processes.announce(self.method)
            trainer = self.fit(len(grid))
        except DivergedError as error:
            lost = [LostMember(member.beta, member.seed, str(error)) for member in grid]
            self._store({}, WeightsHeader([], self.shape, self.classes, lost))
            return
        kept = [index for index in range(len(grid)) if index not in trainer.diverged]
        best = trainer.history[-1].best_epoch
        tensors = trainer.best_members().named_tensors()
        header = WeightsHeader(
            members=[StoredMember(grid[i].beta, grid[i].seed, best[i]) for i in kept],
            shape=self.shape,
            classes=self.classes,
            lost=[
                LostMember(grid[i].beta, grid[i].seed, trainer.why_diverged(i))
                for i in sorted(trainer.diverged)
            ],
            epochs=trainer.epoch,
            steps=trainer.steps,
        )
        self._store({name: tensor[kept] for name, tensor in tensors.items()}, header)

    def _store(self, tensors: dict[str, Tensor], header: WeightsHeader) -> None:
        if header.lost:
            write_json(self.files.failed, "list of diverged models", header.lost)
        save_tensors(self.files.models, tensors, asdict(header))

    def fit(self, count: int) -> Trainer:
        """Train all models of the method, `count` of them."""
        config, train = self.config, self.config.train
        members = build_members(config, self.method, self.shape, self.classes)
        if isinstance(members, Looped) and config.stack and count > 1:
            self.progress.note(
                f"{self.method}: running statistics, mixed precision, channels_last and chunks "
                "cannot be vectorised; the models are trained one after another in each step"
            )
        if self.processes.count > 1 and _normalises(members.member(0)):
            self.progress.note(
                f"{self.method}: each process normalises its share of a batch by the statistics of "
                "that share, so that the result is not that of one process"
            )
        total = train.epochs * train.steps_per_epoch(len(self.splits.train))
        with self.progress.bar(f"{self.method}: training {count} models", total) as bar:

            def on_epoch(trainer: Trainer) -> None:
                if self.processes.leads:
                    write_lines(self.files.history, trainer.history)
                bar.show(trainer.epoch * trainer.steps_per_epoch, _losses(trainer))

            return fit(
                members,
                self.splits.train,
                self.splits.validation,
                train,
                checkpoint=self.files.checkpoint,
                identity=f"{config.identity()}/{self.method}",
                on_epoch=on_epoch,
                on_step=bar.advance,
                processes=self.processes,
            )

    def _measure(self, tensors: dict[str, Tensor], header: WeightsHeader) -> list[MemberRecord]:
        """Measure the models that have no record yet, in stacks as large as makes it faster."""
        numbers = {
            Member(self.method, stored.beta, stored.seed): number
            for number, stored in enumerate(header.members)
        }
        paths = {member: self.files.record(member) for member in numbers}
        pending = {member for member, path in paths.items() if not path.exists()}

        def at_once(first: Member) -> int:
            return self._at_once(self._model(tensors, numbers[first], first))

        with self.progress.bar(f"{self.method}: measuring", len(numbers)) as bar:
            bar.show(len(numbers) - len(pending), "")
            for stack in stacks_of([*numbers], at_once) if pending else ():
                if pending.isdisjoint(stack):
                    continue
                models = [self._model(tensors, numbers[member], member) for member in stack]
                measured = evaluate_models(models, self.splits, self.config.evaluate)
                for member, measurements in zip(stack, measured, strict=True):
                    if member in pending:
                        stored = header.members[numbers[member]]
                        self._record(member, stored.best_epoch, measurements)
                        bar.advance()
        return [read_json(path, RECORD, MemberRecord) for path in paths.values()]

    def _record(self, member: Member, best_epoch: int, measurements: Measurements) -> None:
        record = MemberRecord(
            method=member.method,
            beta=member.beta,
            seed=member.seed,
            best_epoch=best_epoch,
            adversarial=self.config.adversarial,
            **vars(measurements),
        )
        write_json(self.files.record(member), RECORD, record)

    def _at_once(self, model: nn.Module) -> int:
        if not self.config.stack:
            return 1
        return measured_together(model, self.splits, self.config.evaluate)

    def _model(self, tensors: dict[str, Tensor], index: int, member: Member) -> nn.Module:
        objective = build_objective(self.config, member, self.shape, self.classes)
        solo = Solo(objective, member.seed, self.config.device)
        solo.load({name: tensor[index : index + 1] for name, tensor in tensors.items()})
        return objective.model

    def _draw(
        self, tensors: dict[str, Tensor], header: WeightsHeader, records: list[MemberRecord]
    ) -> None:
        """Projections of the first seed at every beta, attacked images at the chosen beta."""
        chosen = chosen_beta(records)
        pictures: dict[str, Tensor] = {}
        drawn: set[float] = set()
        for index, stored in enumerate(header.members):
            if stored.beta in drawn:
                continue
            drawn.add(stored.beta)
            member = Member(self.method, stored.beta, stored.seed)
            model = self._model(tensors, index, member)
            for name, tensor in project(model, self.splits.test).items():
                pictures[f"{member.beta!r}/{name}"] = tensor
            if member.beta == chosen and self.splits.test.image and self.config.evaluate.attack:
                pictures |= attacked_pictures(model, self.splits.test, self.config.evaluate)
        save_tensors(self.files.pictures, pictures, {"beta": chosen})


def _normalises(model: nn.Module) -> bool:
    """Whether a layer normalises by the statistics of the batch in training."""
    return any(hasattr(module, "track_running_stats") for module in model.modules())


def _losses(trainer: Trainer) -> str:
    """Least and largest over the models, whose betas differ too much for a mean."""
    record = trainer.history[-1]
    loss = [value for value in record.losses["loss"] if value is not None]
    accuracy = [value for value in record.validation_accuracy if value is not None]
    lost = f", {len(trainer.diverged)} diverged" if trainer.diverged else ""
    if not loss or not accuracy:
        return f"epoch {trainer.epoch}{lost}"
    return (
        f"epoch {trainer.epoch}, loss {min(loss):.3g} to {max(loss):.3g}, "
        f"validation {min(accuracy):.1%} to {max(accuracy):.1%}{lost}"
    )
