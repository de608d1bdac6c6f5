"""The exact information plane of binary networks as they learn, and how soon a layer knows enough.

    python -m narrows.experiments.imb_plane --epochs 20000 --out runs

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

from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import torch
from torch import Tensor

from narrows.data import Splits, load
from narrows.data.twelve_bit import joint, patterns
from narrows.errors import ConfigError, NarrowsError, unknown_name
from narrows.experiments.progress import Progress
from narrows.experiments.store import Folder, open_run
from narrows.information.enumeration import binary_tables, chain_information
from narrows.methods import METHODS, Sizes
from narrows.models import BinaryStochasticNet
from narrows.training import Objective, Stacked, TrainConfig, Trainer, fit
from narrows.types import Estimate

__all__ = ["PlaneConfig", "epochs_to_reach", "measured_epochs", "run_plane"]

_HIDDEN = (10, 8, 6, 4)
_RIVAL = "sfnn"
_CHECKPOINT_SECONDS = 60.0
Point = dict[str, Any]


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
        if min(self.epochs, self.seeds, self.samples, self.batch_size, self.points) < 1:
            raise ConfigError(
                "epochs, seeds, samples, batch_size and points must be at least 1, got "
                f"{asdict(self)}"
            )


def measured_epochs(epochs: int, points: int) -> list[int]:
    """Numbers of finished epochs at which the plane is measured: 0, then evenly in the logarithm.

    Example:
        >>> measured_epochs(1000, 4)
        [0, 1, 10, 100, 1000]
    """
    steps = [epochs ** (i / max(1, points - 1)) for i in range(points)]
    return sorted({0, epochs, *(round(step) for step in steps)})


def run_plane(config: PlaneConfig, out: Path, progress: Progress) -> Path:
    """Train and measure every method; return the folder that holds `plane.json`.

    A method that is finished is not repeated; one that was broken off goes on from its checkpoint.
    """
    splits = Splits(*(part.to(config.device) for part in load("twelve-bit")))
    with open_run(out / "imb-plane", asdict(config)) as folder:
        for name in config.methods:
            task = folder.sub(name)
            if task.done:
                progress.note(f"{name}: finished before, kept")
                continue
            _train(name, config, splits, task, progress)
        planes = {name: folder.sub(name).read("plane.json") for name in config.methods}
        reached = epochs_to_reach(planes) if _RIVAL in planes else {}
        folder.write("plane.json", {"config": asdict(config), "reached": reached, **planes})
        folder.write("done.json", {"methods": config.methods})
    return folder.path


def _train(
    name: str, config: PlaneConfig, splits: Splits, task: Folder, progress: Progress
) -> None:
    train = splits.train + splits.validation
    members, wanted = _members(name, config), measured_epochs(config.epochs, config.points)
    recipe = TrainConfig(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        optimiser="sgd",
        checkpoint_seconds=_CHECKPOINT_SECONDS,
    )
    checkpoint = task.file("checkpoint.safetensors")
    points = task.read("plane.json") if checkpoint.exists() else [_measure(members, 0)]
    with progress.bar(f"{name}: {config.seeds} networks", config.epochs) as bar:

        def on_epoch(trainer: Trainer) -> None:
            if trainer.epoch in wanted and trainer.epoch not in [p["epoch"] for p in points]:
                points.append(_measure(members, trainer.epoch))
                task.write("plane.json", points)
            bar.show(trainer.epoch, _standing(points[-1]))

        # Nothing is chosen here, so a few patterns are enough to validate on.
        few = splits.test.take(slice(0, 32))
        fit(members, train, few, recipe, checkpoint=checkpoint, identity=name, on_epoch=on_epoch)
    task.write("done.json", {"epochs": config.epochs})
    checkpoint.unlink()


def _members(name: str, config: PlaneConfig) -> Stacked:
    kind = METHODS[name]
    beta = 0.0 if name == _RIVAL else config.beta
    objectives = []
    for seed in range(config.seeds):
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(seed)
            model = BinaryStochasticNet(12, _HIDDEN, classes=2)
        sizes = Sizes(12, _HIDDEN[-1], 2, _HIDDEN)
        objectives.append(Objective(model, kind.build(beta, sizes, samples=config.samples)))
    return Stacked(objectives, list(range(config.seeds)), config.device)


def _measure(members: Stacked, epoch: int) -> Point:
    """Both axes in bits, `[seeds][layers]`."""
    tensors, x, p_xy = members.named_tensors(), patterns(), joint(None)
    rates, relevances = [], []
    for index in range(len(members)):
        layers = [_layer(tensors, number, index) for number in range(len(_HIDDEN))]
        found = chain_information(binary_tables(x, layers), p_xy)
        rates.append([Estimate(layer.rate, 0, len(x)).bits for layer in found])
        relevances.append([Estimate(layer.relevance, 0, len(x)).bits for layer in found])
    return {"epoch": epoch, "rate": rates, "relevance": relevances}


def _layer(tensors: dict[str, Tensor], number: int, index: int) -> tuple[Tensor, Tensor]:
    name = f"model.layers.{number}"
    return tensors[f"{name}.weight"][index], tensors[f"{name}.bias"][index]


def _mean_relevance(point: Point) -> list[float]:
    """I(Z_l;Y) of every layer in bits, averaged over seeds."""
    return [fmean(layer) for layer in zip(*point["relevance"], strict=True)]


def _standing(point: Point) -> str:
    shown = " ".join(f"{bits:.3f}" for bits in _mean_relevance(point))
    return f"I(Z;Y) at epoch {point['epoch']}: {shown} bits"


def epochs_to_reach(planes: dict[str, list[Point]]) -> dict[str, Any]:
    """How many epochs each method needs for what SFNN's layers know of the label at the end.

    Args:
        planes: the points of every method, SFNN's among them, as they were measured.

    Returns:
        For every method the first measured epoch at which its layer 1 is where SFNN's best layer
        ends (`layer_1`), and at which each layer is where SFNN's same layer ends (`each`), as
        shares of SFNN's epochs; `None` for never. Relevances are means over the seeds.
    """
    last = planes[_RIVAL][-1]
    final, epochs = _mean_relevance(last), last["epoch"]

    def share(points: list[Point], layer: int, wanted: float) -> float | None:
        reached = [p["epoch"] for p in points if _mean_relevance(p)[layer] >= wanted]
        return min(reached) / epochs if reached else None

    return {
        name: {
            "layer_1": share(points, 0, max(final)),
            "each": [share(points, layer, wanted) for layer, wanted in enumerate(final)],
            "highest": [max(layer) for layer in zip(*map(_mean_relevance, points), strict=True)],
        }
        for name, points in planes.items()
    }


@click.command()
@click.option("--epochs", default=20_000, show_default=True)
@click.option("--seeds", default=5, show_default=True)
@click.option("--samples", default=2, show_default=True, help="M, draws a layer.")
@click.option("--learning-rate", default=1.0, show_default=True)
@click.option("--batch-size", default=512, show_default=True)
@click.option("--beta", default=1e-4, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--methods", default="sfnn,joint_imb,greedy_imb", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
def main(out: Path, methods: str, **chosen: Any) -> None:
    """Train binary networks on twelve bits and measure their exact information plane."""
    from rich.console import Console

    progress = Progress(Console())
    try:
        config = PlaneConfig(methods=methods.split(","), **chosen)
        folder = Folder(run_plane(config, out, progress))
    except NarrowsError as error:
        raise click.UsageError(str(error)) from error
    for name, reached in folder.read("plane.json")["reached"].items():
        share = reached["layer_1"]
        said = "never" if share is None else f"after {share:.2%} of SFNN's epochs"
        highest = " ".join(f"{bits:.3f}" for bits in reached["highest"])
        progress.note(f"{name}: SFNN's relevance {said}; highest of each layer {highest} bits")
    progress.note(f"Measurements: {folder.file('plane.json')}")


if __name__ == "__main__":
    main()
