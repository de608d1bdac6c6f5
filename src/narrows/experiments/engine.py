"""Carry a run out: one training task a method, each stacked, resumable and skipped when done."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from narrows.data import Splits, load
from narrows.errors import ConfigError, DivergedError
from narrows.experiments.config import RunConfig
from narrows.experiments.evaluate import attacked_pictures, evaluate_member, project
from narrows.experiments.progress import Progress
from narrows.experiments.store import Folder, open_run
from narrows.experiments.summary import chosen_beta, summarise
from narrows.methods import METHODS, Sizes
from narrows.models.networks import build_network
from narrows.training import Members, Objective, Stacked, Trainer, fit
from narrows.training.checkpoint import save_tensors

__all__ = ["build_members", "run"]


class _Member(NamedTuple):
    beta: float
    seed: int


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


def check_device(device: str) -> None:
    """Refuse a device that this machine doesn't have, before any work is done on another."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); try 'cpu'"
        ) from error


def build_members(config: RunConfig, method: str, splits: Splits) -> Members:
    """The stack of one method: every beta with every seed, beta by beta."""
    config = config.resolve()
    if config.network is None:
        raise ConfigError("the configuration has no network")
    shape, classes = splits.train.shape, splits.train.classes
    sizes = Sizes(math.prod(shape), config.network.bottleneck, classes)
    kind = METHODS[method]
    objectives, members = [], _grid(config, method)
    for beta, seed in members:
        # Built on the CPU from its generator alone: the same weights on every device.
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(seed)
            model = build_network(config.network, shape, classes, kind.latent)
            built = kind.build(beta, sizes, **config.options.get(method, {}))
        objectives.append(Objective(model, built))
    return Stacked(objectives, [member.seed for member in members], config.device)


def _grid(config: RunConfig, method: str) -> list[_Member]:
    return [_Member(beta, seed) for beta in config.grid(method) for seed in range(config.seeds)]


def _run_task(
    config: RunConfig, method: str, splits: Splits, task: Folder, progress: Progress
) -> None:
    trainer = _train(config, method, splits, task, progress)
    members = trainer.best_members()
    grid = _grid(config, method)
    records = []
    with progress.bar(f"{method}: measuring", len(grid)) as bar:
        for index, (beta, seed) in enumerate(grid):
            measured = evaluate_member(members.member(index).model, splits, config.evaluate)
            best = trainer.history[-1].best_epoch[index]
            records.append(
                {"method": method, "beta": beta, "seed": seed, "best_epoch": best, **measured}
            )
            bar.advance()
    task.write("results.json", records)
    tensors = members.named_tensors()
    save_tensors(task.file("models.safetensors"), tensors, {"members": [m._asdict() for m in grid]})
    pictures = _pictures(config, members, grid, splits, chosen_beta(records))
    save_tensors(task.file("pictures.safetensors"), pictures, {"beta": chosen_beta(records)})
    task.write("done.json", {"epochs": trainer.epoch, "steps": trainer.steps})
    for leftover in ("failed.json", "checkpoint.safetensors"):
        task.file(leftover).unlink(missing_ok=True)


def _train(
    config: RunConfig, method: str, splits: Splits, task: Folder, progress: Progress
) -> Trainer:
    members = build_members(config, method, splits)
    if config.train is None:
        raise ConfigError("the configuration has no training recipe")
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
    loss, accuracy = record.losses["loss"], record.validation_accuracy
    return (
        f"epoch {trainer.epoch}, loss {min(loss):.3g} to {max(loss):.3g}, "
        f"validation {min(accuracy):.1%} to {max(accuracy):.1%}"
    )


def _pictures(
    config: RunConfig, members: Members, grid: list[_Member], splits: Splits, chosen: float
) -> dict[str, Any]:
    """Projections of the first seed at every beta, attacked images at the chosen beta."""
    pictures: dict[str, Any] = {}
    for index, (beta, seed) in enumerate(grid):
        if seed:
            continue
        model = members.member(index).model
        for name, tensor in project(model, splits.test).items():
            pictures[f"{beta:g}/{name}"] = tensor
        if beta == chosen and splits.test.image:
            pictures |= attacked_pictures(model, splits.test, config.evaluate)
    return pictures
