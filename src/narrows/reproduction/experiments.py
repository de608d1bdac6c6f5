"""Experiments that are no run of a recipe: the toys, and the plane of binary layers in training.

Each returns numbers by row and column of its table, one for each seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from narrows.papers.imb import PlaneConfig, read_training_plane, run_plane
from narrows.papers.toys import TOYS, ToyConfig, ToyResult, run_toy
from narrows.reproduction.tables import PaperTable, Scale
from narrows.runs import Progress

__all__ = ["EXPERIMENTS", "IMAGES", "SETTINGS", "Numbers"]

Numbers = dict[tuple[str, str], list[float]]
_PERCENT = 100.0
_SAMPLES = 10_000
_SEEDS = {"smoke": 1, "short": 10, "paper": 10}
_PLANES = {
    "smoke": PlaneConfig(epochs=2, seeds=2, points=2),
    "short": PlaneConfig(epochs=2000),
    "paper": PlaneConfig(),
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


EXPERIMENTS: dict[str, Callable[[PaperTable, Scale, Path, Progress], Numbers]] = {
    "toy1": _toy("toy1"),
    "toy2": _toy("toy2"),
    "imb-plane": _plane,
}
"""Experiments by the name that a table gives."""

SETTINGS: dict[str, Callable[[Scale], ToyConfig | PlaneConfig]] = {
    "toy1": lambda scale: _toy_config("toy1", scale),
    "toy2": lambda scale: _toy_config("toy2", scale),
    "imb-plane": lambda scale: _PLANES[scale],
}
"""What is trained, by name and scale."""

IMAGES = {"toy1": _SAMPLES, "toy2": _SAMPLES}
"""How many samples a share is counted on, where it is one."""
