"""Figure 5 of IB-RAR: the information plane by nHSIC of a layer, in training, by method.

Source: Xu, Perin & Picek (2022), arXiv 2302.10896.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from narrows.errors import StoreError
from narrows.papers.ib_rar_figures import DependencePoint, follow_training
from narrows.runs import Progress, ResolvedConfig
from narrows.runs.building import build_objective
from narrows.runs.data import load_splits
from narrows.runs.files import locked_folder, read_json, write_json

__all__ = ["DependenceConfig", "DependenceRecord", "read_dependences", "run_dependences"]

_KIND = "dependence of a layer in training"
_FILE = "dependence.json"


@dataclass(frozen=True)
class DependenceConfig:
    """What is trained, and how often which layer is measured.

    Args:
        run: settings of the training; the first beta and seed of each method are trained.
        layer: name as in `model.named_modules()`.
        every: steps between two measurements.
        images: training images that are measured.
        batch_size: images that are compared with each other.
    """

    run: ResolvedConfig
    layer: str = "block4"
    every: int = 50
    images: int = 1000
    batch_size: int = 100


@dataclass(frozen=True)
class DependenceRecord:
    """What was measured in the training of each method.

    Attributes:
        config: what was trained.
        points: by method, in the order of the steps.
    """

    config: DependenceConfig
    points: dict[str, list[DependencePoint]] = field(default_factory=dict)


def read_dependences(folder: Path) -> DependenceRecord:
    """Read what `run_dependences` has written.

    Args:
        folder: that it was written into.

    Raises:
        StoreError: for another folder, or a damaged file.
    """
    path = folder / _FILE
    if not path.exists():
        raise StoreError(
            f"{folder} has no {_FILE}; expected the folder planes/SCALE/ib-rar-plane of "
            "`narrows reproduce ib-rar-figure5`"
        )
    return read_json(path, _KIND, DependenceRecord)


def run_dependences(config: DependenceConfig, out: Path, progress: Progress) -> DependenceRecord:
    """Train one network for each method and follow its layer; a finished method is kept.

    Args:
        config: what is trained and measured.
        out: folder in which the folder `ib-rar-plane` is made.
        progress: where progress is shown.

    Raises:
        StoreError: for a file that is damaged or cannot be written.
        DataError: if the data cannot be loaded.
        DivergedError: if a training diverges.
    """
    with locked_folder(out / "ib-rar-plane") as folder:
        record = DependenceRecord(config)
        if (folder / _FILE).exists():
            stored = read_dependences(folder)
            record = stored if stored.config == config else record
        methods = config.run.methods
        with progress.bar(f"nHSIC of {config.layer}", len(methods)) as bar:
            for method in methods:
                if method not in record.points:
                    record.points[method] = _followed(config, method)
                    write_json(folder / _FILE, _KIND, record)
                bar.advance()
    return record


def _followed(config: DependenceConfig, method: str) -> list[DependencePoint]:
    run = config.run
    splits, _ = load_splits(run)
    train, member = splits.train, run.members(method)[0]
    objective = build_objective(run, member, train.shape, train.classes)
    return follow_training(
        lambda: objective.model,
        objective.method,
        train,
        splits.validation,
        run.train,
        [config.layer],
        every=config.every,
        images=config.images,
        batch_size=config.batch_size,
        seed=member.seed,
        device=run.device,
    )
