"""Carry a run out: one training task a method, each resumable and skipped when done."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from narrows.data import Splits, load
from narrows.errors import ConfigError, DivergedError, NarrowsError
from narrows.experiments.config import RunConfig
from narrows.experiments.evaluate import attacked_pictures, evaluate_member, project
from narrows.experiments.members import Member, build_members, build_objective, grid_of
from narrows.experiments.progress import Progress
from narrows.experiments.store import Folder, open_run
from narrows.experiments.summary import chosen_beta, summarise
from narrows.storage import save_tensors
from narrows.training import Looped, Members, Trainer, fit

__all__ = ["build_members", "run"]

_FEW = 4


def run(config: RunConfig, out: Path, progress: Progress) -> Path:
    """Train, measure and summarise everything in `config`; return the run's folder.

    What an earlier, broken run of the same configuration has finished is kept and not repeated.

    Raises:
        NarrowsError: of one kind or another for anything that a user can cause.
    """
    config = config.resolve()
    check_device(config.device)
    loaded = load(config.data, validation_share=config.validation_share)
    splits = Splits(*(part.to(config.device) for part in loaded))
    if config.adversarial is not None and not splits.train.image:
        raise ConfigError(
            f"adversarial training changes images in [0, 1], and {config.data} has none; "
            "leave adversarial out"
        )
    for method in config.methods:
        _try(config, method, splits)
    plain = asdict(config)
    with open_run(out / f"{config.data}-{config.identity()}", plain) as folder:
        for method in config.methods:
            task = folder.sub(method)
            if task.done:
                progress.note(f"{method}: finished before, kept")
                continue
            _run_task(config, method, splits, task, progress)
        folder.write("summary.json", summarise(config, folder))
        folder.write("done.json", {"methods": config.methods, "classes": splits.train.classes})
    return folder.path


def _try(config: RunConfig, method: str, splits: Splits) -> None:
    """Refuse a network that a method cannot train, before any is trained.

    One step's loss is computed on the meta device, where tensors have shapes and no numbers.
    """
    shape, classes = splits.train.shape, splits.train.classes
    few = min(_FEW, config.train.batch_size if config.train else _FEW)
    # Adversarial training changes no shape, and has been tried with its options.
    plain, member = replace(config, adversarial=None), grid_of(config, method)[0]
    with torch.device("meta"), torch.random.fork_rng([]):
        objective = build_objective(plain, method, member, shape, classes)
        try:
            objective.method(objective.model, torch.empty(few, *shape), torch.zeros(few).long())
        except NarrowsError:
            raise
        except ValueError as error:  # of batch normalisation, for a single number a channel
            raise ConfigError(f"{method} cannot be trained in batches of {few}: {error}") from error


def check_device(device: str) -> None:
    """Refuse a device that this machine doesn't have, before any work is done on another."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); try 'cpu'"
        ) from error


def _run_task(
    config: RunConfig, method: str, splits: Splits, task: Folder, progress: Progress
) -> None:
    trainer = _train(config, method, splits, task, progress)
    members, grid = trainer.best_members(), grid_of(config, method)
    kept = [index for index in range(len(grid)) if index not in trainer.diverged]
    about = {"method": method}
    if config.adversarial is not None:
        about["adversarial"] = config.adversarial
    records = []
    with progress.bar(f"{method}: measuring", len(kept)) as bar:
        for index in kept:
            measured = evaluate_member(members.member(index).model, splits, config.evaluate)
            best = trainer.history[-1].best_epoch[index]
            records.append({**about, **grid[index]._asdict(), "best_epoch": best, **measured})
            bar.advance()
    task.write("results.json", records)
    tensors = {name: tensor[kept] for name, tensor in members.named_tensors().items()}
    header = {
        "members": [grid[index]._asdict() for index in kept],
        "shape": splits.train.shape,
        "classes": splits.train.classes,
    }
    save_tensors(task.file("models.safetensors"), tensors, header)
    chosen = chosen_beta(records)
    pictures = _pictures(config, members, [(i, grid[i]) for i in kept], splits, chosen)
    save_tensors(task.file("pictures.safetensors"), pictures, {"beta": chosen})
    _report_diverged(method, trainer, grid, task, progress)
    task.write("done.json", {"epochs": trainer.epoch, "steps": trainer.steps})
    task.file("checkpoint.safetensors").unlink(missing_ok=True)


def _report_diverged(
    method: str, trainer: Trainer, grid: list[Member], task: Folder, progress: Progress
) -> None:
    """Say which members are missing from the results, and why."""
    if not trainer.diverged:
        task.file("failed.json").unlink(missing_ok=True)
        return
    failed = [
        {**grid[index]._asdict(), **where._asdict(), "error": trainer.why_diverged(index)}
        for index, where in sorted(trainer.diverged.items())
    ]
    task.write("failed.json", {"members": failed})
    for one in failed:
        progress.note(f"{method}, beta {one['beta']:g}, left out: {one['error']}")


def _train(
    config: RunConfig, method: str, splits: Splits, task: Folder, progress: Progress
) -> Trainer:
    members = build_members(config, method, splits)
    if config.train is None:
        raise ConfigError("the configuration has no training recipe")
    if isinstance(members, Looped) and config.stack and len(members) > 1:
        progress.note(
            f"{method}: running statistics, mixed precision and chunks cannot be vectorised; "
            "the models are trained one after another in each step"
        )
    total = config.train.epochs * config.train.steps_per_epoch(len(splits.train))
    with progress.bar(f"{method}: training {len(members)} models", total) as bar:

        def on_epoch(trainer: Trainer) -> None:
            task.write_lines("history.jsonl", [vars(record) for record in trainer.history])
            bar.show(trainer.epoch * trainer.steps_per_epoch, _standing(trainer))

        try:
            return fit(
                members,
                splits.train,
                splits.validation,
                config.train,
                checkpoint=task.file("checkpoint.safetensors"),
                identity=f"{config.identity()}/{method}",
                on_epoch=on_epoch,
                on_step=bar.advance,
            )
        except DivergedError as error:
            task.write("failed.json", {"error": str(error)})
            raise DivergedError(f"{method}: {error}. Finished methods are kept") from error


def _standing(trainer: Trainer) -> str:
    """Least and largest over the members, whose betas differ too much for a mean."""
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


def _pictures(
    config: RunConfig,
    members: Members,
    grid: list[tuple[int, Member]],
    splits: Splits,
    chosen: float,
) -> dict[str, Any]:
    """Projections of the first seed at every beta, attacked images at the chosen beta."""
    pictures: dict[str, Any] = {}
    first: dict[float, int] = {}
    for index, (beta, _) in grid:
        first.setdefault(beta, index)
    for beta, index in first.items():
        model = members.member(index).model
        for name, tensor in project(model, splits.test).items():
            pictures[f"{beta:g}/{name}"] = tensor
        if beta == chosen and splits.test.image and config.evaluate.attack:
            pictures |= attacked_pictures(model, splits.test, config.evaluate)
    return pictures
