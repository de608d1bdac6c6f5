"""The exact information plane of binary networks as they learn, and how soon a layer knows enough.

    python -m narrows.papers.imb --epochs 20000 --out runs

    I(X;Z_l), I(Z_l;Y) in bits, of every layer, by enumeration of all its codes and all 4,096 inputs
    epochs to reach = first epoch at which layer 1 has the relevance of SFNN's best layer at the end

Source: Nguyen & Choi (2017), arXiv 1712.01272, Figures 1 and 2 and section 5.3: a 12-10-8-6-4-1
network on twelve bits, SGD on 80 % of the patterns, beta = 1e-4, five seeds, 20,000 epochs. Theirs
is reached after 4.68 % of SFNN's epochs with JointIMB and 17.95 % with GreedyIMB.

Deviations: the paper gives neither the learning rate nor the batch nor M for this experiment. Here
they are 1, 512 and 2: a tree has M^4 leaves an input. Two logits stand for its single output.
GreedyIMB's four turns share the epochs, where the paper may have given each turn all of them; its
rivals then have four times as many epochs a layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from torch import Tensor

from narrows.data import Splits, load
from narrows.data.twelve_bit import joint, patterns
from narrows.errors import ConfigError, NarrowsError, StoreError, unknown_name
from narrows.information.enumeration import binary_tables, chain_information
from narrows.methods import METHODS, Sizes
from narrows.models import BinaryStochasticNet
from narrows.models.noise import forked_rng
from narrows.runs import Progress
from narrows.runs.engine import check_device
from narrows.runs.environment import record_environment
from narrows.runs.files import locked_folder, make_folder, read_json, write_json
from narrows.training import Objective, Stacked, TrainConfig, Trainer, fit
from narrows.types import Estimate

__all__ = [
    "PlaneConfig",
    "PlanePoint",
    "Reached",
    "TrainingPlane",
    "epochs_to_reach",
    "measured_epochs",
    "read_training_plane",
    "run_plane",
]

_HIDDEN = (10, 8, 6, 4)
_REFERENCE = "sfnn"
_CHECKPOINT_SECONDS = 60.0
_FILE, _KIND = "plane.json", "information plane of a training"
_POINTS = "points of an information plane"


@dataclass(frozen=True)
class PlanePoint:
    """Both axes of every layer in bits, `[seeds][layers]`, after `epoch` epochs."""

    epoch: int
    rate: list[list[float]]
    relevance: list[list[float]]

    def __post_init__(self) -> None:
        widths = {len(layers) for layers in (*self.rate, *self.relevance)}
        if len(self.rate) != len(self.relevance) or len(widths) != 1 or 0 in widths:
            raise ConfigError(
                f"epoch {self.epoch}: expected rate and relevance [seeds][layers] of equal lengths"
            )

    def mean_relevance(self) -> list[float]:
        """I(Z_l;Y) of every layer, averaged over seeds."""
        return [fmean(layer) for layer in zip(*self.relevance, strict=True)]


@dataclass(frozen=True)
class Reached:
    """When a method's layers know as much of the label as those of SFNN do at the end.

    Attributes:
        layer_1: share of SFNN's epochs after which layer 1 is where SFNN's best layer ends; `None`
            for never.
        each: likewise, of each layer, after which it is where SFNN's same layer ends.
        highest: the highest mean relevance of each layer, in bits.
    """

    layer_1: float | None
    each: list[float | None]
    highest: list[float]


@dataclass(frozen=True)
class PlaneConfig:
    """What is trained and how often it is measured.

    Args:
        methods: of binary networks, by name.
        epochs: passes over the training patterns.
        seeds: networks a method, trained in one stack.
        beta: weight of the compression.
        samples: M, draws of a layer for each draw of the one before.
        batch_size: patterns a step.
        learning_rate: of SGD without momentum.
        points: epochs at which the plane is measured, evenly spaced in their logarithm.
        device: where the networks are trained; the plane is measured on the CPU.
    """

    methods: list[str] = field(default_factory=lambda: ["sfnn", "joint_imb", "greedy_imb"])
    epochs: int = 20_000
    seeds: int = 5
    beta: float = 1e-4
    samples: int = 2
    batch_size: int = 512
    learning_rate: float = 1.0
    points: int = 120
    device: str = "cpu"

    def __post_init__(self) -> None:
        binary = [name for name, kind in METHODS.items() if kind.latent == "binary"]
        for name in self.methods:
            if name not in binary:
                raise unknown_name("method of binary networks", name, binary)
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods must be named, and none twice, got {self.methods}")
        if min(self.epochs, self.seeds, self.samples, self.batch_size, self.points) < 1:
            raise ConfigError(
                "epochs, seeds, samples, batch_size and points must be at least 1, got "
                f"{asdict(self)}"
            )
        if not 0 <= self.beta < math.inf:
            raise ConfigError(f"beta must be finite and at least 0, got {self.beta}")
        _ = self.train  # which checks the learning rate

    @property
    def train(self) -> TrainConfig:
        """How every network is trained."""
        return TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            optimiser="sgd",
            checkpoint_seconds=_CHECKPOINT_SECONDS,
        )


def measured_epochs(epochs: int, points: int) -> list[int]:
    """Numbers of finished epochs at which the plane is measured: 0, then evenly in the logarithm.

    Example:
        >>> measured_epochs(1000, 4)
        [0, 1, 10, 100, 1000]
    """
    steps = [epochs ** (i / max(1, points - 1)) for i in range(points)]
    return sorted({0, epochs, *(round(step) for step in steps)})


@dataclass(frozen=True)
class TrainingPlane:
    """The plane of every method during its training, and when each reaches SFNN's relevance."""

    config: PlaneConfig
    points: dict[str, list[PlanePoint]]
    reached: dict[str, Reached]

    def __post_init__(self) -> None:
        if set(self.points) != set(self.config.methods) or not all(self.points.values()):
            raise ConfigError(f"expected points of {', '.join(self.config.methods)}")
        shapes = {
            (len(point.rate), len(point.rate[0]))
            for points in self.points.values()
            for point in points
        }
        if len(shapes) > 1:
            raise ConfigError("expected the same seeds and layers at every point")
        if not set(self.reached) <= set(self.points):
            raise ConfigError(f"expected epochs to reach of {', '.join(self.points)}")
        if not all(reached.highest for reached in self.reached.values()):
            raise ConfigError("expected the highest relevance of each layer")


def read_training_plane(folder: Path) -> TrainingPlane:
    """Read what `run_plane` has written.

    Raises:
        StoreError: for another folder.
    """
    if not (folder / _FILE).exists():
        raise StoreError(
            f"{folder} has no {_FILE}; expected a folder of `python -m narrows.papers.imb`"
        )
    return read_json(folder / _FILE, _KIND, TrainingPlane)


def run_plane(config: PlaneConfig, out: Path, progress: Progress) -> Path:
    """Train and measure every method; return the folder that holds `plane.json`.

    A finished method is not repeated; one that was broken off continues from its checkpoint.

    Args:
        config: what is trained and measured.
        out: folder in which the folder `imb-plane` is made.
        progress: where progress is shown.
    """
    check_device(config.device)
    splits = Splits(*(part.to(config.device) for part in load("twelve-bit")))
    with locked_folder(out / "imb-plane") as folder:
        settings = folder / "config.json"
        if not settings.exists():
            write_json(settings, "configuration of a plane", config)
        elif read_json(settings, "configuration of a plane", PlaneConfig) != config:
            raise StoreError(f"{folder} holds another plane; choose another --out")
        record_environment(folder, config.device, progress, finished=(folder / _FILE).exists())
        points = {
            name: _measured(name, config, splits, make_folder(folder / name), progress)
            for name in config.methods
        }
        reached = epochs_to_reach(points) if _REFERENCE in points else {}
        write_json(folder / _FILE, _KIND, TrainingPlane(config, points, reached))
    return folder


def _measured(
    name: str, config: PlaneConfig, splits: Splits, folder: Path, progress: Progress
) -> list[PlanePoint]:
    """Train one method, unless that is done, and return its points."""
    done, checkpoint = folder / "done.json", folder / "checkpoint.safetensors"
    path = folder / _FILE
    if done.exists():
        if checkpoint.exists():  # of a process that was killed just after it had finished
            checkpoint.unlink()
        progress.note(f"{name}: finished before, kept")
        return read_json(path, _POINTS, list[PlanePoint])
    train = splits.train + splits.validation
    members, wanted = _members(name, config), measured_epochs(config.epochs, config.points)
    if checkpoint.exists():
        points = read_json(path, _POINTS, list[PlanePoint])
    else:
        points = [_measure(members, 0)]
    with progress.bar(f"{name}: {config.seeds} networks", config.epochs) as bar:

        def on_epoch(trainer: Trainer) -> None:
            if trainer.epoch in wanted and trainer.epoch not in [p.epoch for p in points]:
                points.append(_measure(members, trainer.epoch))
                write_json(path, _POINTS, points)
            bar.show(trainer.epoch, _status(points[-1]))

        # Nothing is chosen here, so that 32 patterns are enough to validate on.
        subset = splits.test.take(slice(0, 32))
        fit(
            members,
            train,
            subset,
            config.train,
            checkpoint=checkpoint,
            identity=name,
            on_epoch=on_epoch,
        )
    write_json(done, "completion mark", {"epochs": config.epochs})
    checkpoint.unlink(missing_ok=True)
    return points


def _members(name: str, config: PlaneConfig) -> Stacked:
    kind = METHODS[name]
    beta = 0.0 if name == _REFERENCE else config.beta
    objectives = []
    for seed in range(config.seeds):
        with forked_rng(seed=seed):
            model = BinaryStochasticNet(12, _HIDDEN, classes=2)
        sizes = Sizes(12, _HIDDEN[-1], 2, _HIDDEN)
        objectives.append(Objective(model, kind.build(beta, sizes, samples=config.samples)))
    return Stacked(objectives, list(range(config.seeds)), config.device)


def _measure(members: Stacked, epoch: int) -> PlanePoint:
    tensors, x, p_xy = members.named_tensors(), patterns(), joint(None)
    rates, relevances = [], []
    for index in range(len(members)):
        layers = [_layer(tensors, number, index) for number in range(len(_HIDDEN))]
        information = chain_information(binary_tables(x, layers), p_xy)
        rates.append([Estimate(layer.rate, 0, len(x)).bits for layer in information])
        relevances.append([Estimate(layer.relevance, 0, len(x)).bits for layer in information])
    return PlanePoint(epoch, rates, relevances)


def _layer(tensors: dict[str, Tensor], number: int, index: int) -> tuple[Tensor, Tensor]:
    name = f"model.layers.{number}"
    return tensors[f"{name}.weight"][index], tensors[f"{name}.bias"][index]


def _status(point: PlanePoint) -> str:
    shown = " ".join(f"{bits:.3f}" for bits in point.mean_relevance())
    return f"I(Z;Y) at epoch {point.epoch}: {shown} bits"


def epochs_to_reach(planes: Mapping[str, Sequence[PlanePoint]]) -> dict[str, Reached]:
    """How many epochs each method needs for what SFNN's layers know of the label at the end.

    Args:
        planes: the points of every method, SFNN's among them, as they were measured.
    """
    last = planes[_REFERENCE][-1]
    final, epochs = last.mean_relevance(), last.epoch

    def share(points: Sequence[PlanePoint], layer: int, wanted: float) -> float | None:
        reached = [point.epoch for point in points if point.mean_relevance()[layer] >= wanted]
        return min(reached) / epochs if reached else None

    return {
        name: Reached(
            layer_1=share(points, 0, max(final)),
            each=[share(points, layer, wanted) for layer, wanted in enumerate(final)],
            highest=[
                max(layer)
                for layer in zip(*(point.mean_relevance() for point in points), strict=True)
            ],
        )
        for name, points in planes.items()
    }


@click.command()
@click.option("--epochs", default=20_000, show_default=True, help="Passes over the patterns.")
@click.option("--seeds", default=5, show_default=True, help="Networks for each method.")
@click.option("--samples", default=2, show_default=True, help="M, draws per layer.")
@click.option("--learning-rate", default=1.0, show_default=True, help="Of SGD.")
@click.option("--batch-size", default=512, show_default=True, help="Patterns per step.")
@click.option("--beta", default=1e-4, show_default=True, help="Weight of the compression.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--methods", default="sfnn,joint_imb,greedy_imb", show_default=True, help="Comma-separated."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
def main(out: Path, methods: str, **chosen: Any) -> None:
    """Train binary networks on twelve bits and measure their exact information plane."""
    from rich.console import Console

    progress = Progress(Console())
    try:
        config = PlaneConfig(methods=methods.split(","), **chosen)
        folder = run_plane(config, out, progress)
        plane = read_training_plane(folder)
    except NarrowsError as error:
        raise click.UsageError(str(error)) from error
    for name, reached in plane.reached.items():
        share = reached.layer_1
        when = "never" if share is None else f"after {share:.2%} of SFNN's epochs"
        highest = " ".join(f"{bits:.3f}" for bits in reached.highest)
        progress.note(f"{name}: SFNN's relevance {when}; highest of each layer {highest} bits")
    progress.note(f"Measurements: {folder / _FILE}")


if __name__ == "__main__":
    main()
