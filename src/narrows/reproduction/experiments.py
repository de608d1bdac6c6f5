"""Experiments that are no run of a recipe: the toys, and planes of layers in training.

Each returns numbers by row and column of its table, one for each seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from narrows.papers.ib_rar_plane import DependenceConfig, run_dependences
from narrows.papers.imb import PlaneConfig, read_training_plane, run_plane
from narrows.papers.toys import TOYS, ToyConfig, ToyResult, run_toy
from narrows.reproduction.tables import PaperTable, Scale
from narrows.runs import Progress, load_config

__all__ = ["EXPERIMENTS", "FOLDERS", "IMAGES", "SETTINGS", "Numbers"]

Numbers = dict[tuple[str, str], list[float]]
_PERCENT = 100.0
_SAMPLES = 10_000
_SEEDS = {"smoke": 1, "short": 10, "paper": 10}
_PLANES = {
    "smoke": PlaneConfig(epochs=2, seeds=2, points=2),
    "short": PlaneConfig(epochs=2000),
    "paper": PlaneConfig(),
}
# The terms of the paper's equation on all layers, and no mask.
_IB_RAR = [
    "methods=[cross_entropy,ib_rar]",
    "seeds=1",
    "options.ib_rar.layers=[block1,block2,block3,block4,block5,fc1,fc2]",
    "options.ib_rar.mask=null",
    "options.ib_rar.label_kernel=gaussian",
]
_IB_RAR_SCALES: dict[Scale, list[str]] = {
    "smoke": [
        "network.channel_share=0.03125",
        "train.precision=float32",
        "train.epochs=2",
        "train.batch_size=20",
        "train_images=40",
    ],
    "short": ["train.epochs=10"],
    "paper": [],
}


def _toy(name: str) -> Callable[[PaperTable, Scale, Path, Progress], Numbers]:
    def experiment(table: PaperTable, scale: Scale, out: Path, progress: Progress) -> Numbers:
        return _by_row(run_toy(_toy_config(name, scale), out / "toys" / scale, progress))

    return experiment


def _toy_config(name: str, scale: Scale) -> ToyConfig:
    config = replace(TOYS[name], seeds=_SEEDS[scale])
    return replace(config, steps=2, batch_size=16) if scale == "smoke" else config


def _by_row(results: list[ToyResult]) -> Numbers:
    numbers: Numbers = {}
    for result in results:
        row = "linear" if result.model == "linear" else f"VIB {result.beta:g}, {result.mode}"
        for column, share in (("clean", result.clean), ("shifted", result.shifted)):
            numbers.setdefault((row, column), []).append(_PERCENT * share)
    return numbers


def _plane(table: PaperTable, scale: Scale, out: Path, progress: Progress) -> Numbers:
    """When a method's first layer knows as much of the label as any of SFNN's at the end."""
    plane = read_training_plane(run_plane(_PLANES[scale], out / "planes" / scale, progress))
    numbers: Numbers = {}
    for row, method in (("JointIMB", "joint_imb"), ("GreedyIMB", "greedy_imb")):
        share = plane.reached[method].layer_1
        numbers[row, "share of the epochs"] = [] if share is None else [_PERCENT * share]
    return numbers


def _dependence_config(scale: Scale) -> DependenceConfig:
    recipe = "ib-rar-cifar10" if scale == "paper" else "ib-rar-cifar10-quarter"
    path = Path(str(files("narrows") / "recipes" / f"{recipe}.toml"))
    run = load_config(path, {}, [*_IB_RAR, *_IB_RAR_SCALES[scale]])
    if scale == "smoke":
        return DependenceConfig(run, every=1, images=40, batch_size=20)
    return DependenceConfig(run)


def _dependences(table: PaperTable, scale: Scale, out: Path, progress: Progress) -> Numbers:
    """How the layer depends on images and labels, before the first step and after the last."""
    record = run_dependences(_dependence_config(scale), out / "planes" / scale, progress)
    numbers: Numbers = {}
    for row, method in (("CE", "cross_entropy"), ("CE + MI", "ib_rar")):
        points = record.points[method]
        for when, point in (("first", points[0]), ("last", points[-1])):
            numbers[row, f"nHSIC(X,T), {when}"] = [point.of_inputs]
            numbers[row, f"nHSIC(Y,T), {when}"] = [point.of_labels]
    return numbers


EXPERIMENTS: dict[str, Callable[[PaperTable, Scale, Path, Progress], Numbers]] = {
    "toy1": _toy("toy1"),
    "toy2": _toy("toy2"),
    "imb-plane": _plane,
    "ib-rar-plane": _dependences,
}
"""Experiments by the name that a table gives."""

SETTINGS: dict[str, Callable[[Scale], ToyConfig | PlaneConfig | DependenceConfig]] = {
    "toy1": lambda scale: _toy_config("toy1", scale),
    "toy2": lambda scale: _toy_config("toy2", scale),
    "imb-plane": lambda scale: _PLANES[scale],
    "ib-rar-plane": _dependence_config,
}
"""What is trained, by name and scale."""

FOLDERS: dict[str, Callable[[Scale], Path]] = {
    "toy1": lambda scale: Path("toys", scale),
    "toy2": lambda scale: Path("toys", scale),
    "imb-plane": lambda scale: Path("planes", scale, "imb-plane"),
    "ib-rar-plane": lambda scale: Path("planes", scale, "ib-rar-plane"),
}
"""Where an experiment stores its results, below the folder of the runs."""

IMAGES = {"toy1": _SAMPLES, "toy2": _SAMPLES}
"""How many samples a share is counted on, where it is one."""
