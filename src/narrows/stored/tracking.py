"""The records of many runs in TensorBoard and MLflow, a run of theirs for each model.

| there                | what it is here                                                  |
|----------------------|------------------------------------------------------------------|
| a run                | one model: `<folder of the run>/<key of the model>`              |
| an experiment        | a data set (MLflow)                                              |
| hyperparameters      | data, network, method, beta, seed, adversarial and `train.*`     |
| metrics over steps   | `epoch/loss` and the other losses, `epoch/validation_accuracy`   |
| further metrics      | the quantities of `export_rows`, at the epoch that was kept      |

An export that is repeated replaces what it has written before.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from narrows.errors import StoreError
from narrows.libraries import load_library
from narrows.runs import MemberRecord, Run
from narrows.stored.exporting import ExportRow, model_rows
from narrows.training import EpochRecord

__all__ = ["TrackedModel", "export_mlflow", "export_tensorboard", "tracked_models"]

_SQLITE = b"SQLite format 3\0"
_TAG = "narrows.model"


@dataclass(frozen=True)
class TrackedModel:
    """One model as an experiment tracker sees it.

    Attributes:
        name: `<folder of the run>/<key of the model>`.
        data: name of the data set.
        settings: hyperparameters by name.
        points: `(metric, step, value)`; steps are epochs, counted from 0.
        time: when the run last finished a method, seconds since 1970.
    """

    name: str
    data: str
    settings: dict[str, str | float | int | bool]
    points: list[tuple[str, int, float]]
    time: float


def tracked_models(folders: Iterable[Path]) -> Iterator[TrackedModel]:
    """The models of finished methods; one run is held at a time.

    Args:
        folders: of runs.

    Raises:
        StoreError: for a damaged file.
    """
    for folder in folders:
        run = Run.open(folder)
        histories = {method: run.history(method) for method in run.finished_methods}
        for record, rows in model_rows(run):
            index = run.config.members(record.method).index(record.member)
            yield TrackedModel(
                name=f"{run.path.name}/{record.member.key}",
                data=run.config.data_name,
                settings=_settings(run, record, rows[0].network),
                points=[*_curves(histories[record.method], index), *_numbers(record, rows)],
                time=run.files(record.method).done.stat().st_mtime,
            )


def _settings(run: Run, record: MemberRecord, network: str) -> dict[str, Any]:
    return {
        "data": run.config.data_name,
        "network": network,
        "method": record.method,
        "beta": record.beta,
        "seed": record.seed,
        "adversarial": record.adversarial or "none",
        **{f"train.{name}": value for name, value in asdict(run.config.train).items()},
    }


def _curves(history: list[EpochRecord], index: int) -> Iterator[tuple[str, int, float]]:
    """Losses and validation accuracy of one member over the epochs."""
    for epoch in history:
        for name, values in {
            **epoch.losses,
            "validation_accuracy": epoch.validation_accuracy,
        }.items():
            value = values[index]
            if value is not None:
                yield f"epoch/{_plain(name)}", epoch.epoch, value


def _numbers(record: MemberRecord, rows: list[ExportRow]) -> Iterator[tuple[str, int, float]]:
    """What was measured, at the epoch whose weights were kept."""
    for row in rows:
        name = _plain(row.quantity)
        if row.value is not None:
            yield name, record.best_epoch, row.value
        if row.std_error is not None:
            yield f"{name}/std_error", record.best_epoch, row.std_error


def _plain(name: str) -> str:
    """A name of characters that both libraries take."""
    return re.sub(r"[^\w./-]+", "_", name)


# TensorBoard -------------------------------------------------------------------------------------


def export_tensorboard(models: Iterable[TrackedModel], folder: Path) -> int:
    """Write event files for TensorBoard, which needs tensorboardX; return how many numbers.

    Args:
        models: of `tracked_models`.
        folder: to write into; each model gets a folder of its own in it.

    Raises:
        ConfigError: where tensorboardX is not installed.
        StoreError: if the folder cannot be written.
    """
    library = load_library("tensorboardX", "TensorBoard", "narrows[tensorboard]")
    count = 0
    for model in models:
        home = folder / model.name
        try:
            for path in home.glob("events.out.tfevents.*"):
                path.unlink()
            with library.SummaryWriter(str(home)) as writer:
                finals = {name: value for name, _, value in model.points}
                for summary in library.summary.hparams(model.settings, finals):
                    writer.file_writer.add_summary(summary)
                for name, step, value in model.points:
                    writer.add_scalar(name, value, step, walltime=model.time)
        except OSError as error:
            raise StoreError(f"cannot write {home}: {error.strerror}") from error
        count += len(model.points)
    return count


# MLflow ------------------------------------------------------------------------------------------


def export_mlflow(models: Iterable[TrackedModel], path: Path) -> int:
    """Write into MLflow's store in an SQLite file, which needs mlflow; return how many numbers.

    `mlflow ui --backend-store-uri sqlite:///FILE` shows it. Runs of other programs in the same file
    are left as they are.

    Args:
        models: of `tracked_models`.
        path: of the file, which is created where it is missing.

    Raises:
        ConfigError: where MLflow is not installed.
        StoreError: if the file cannot be written, or is no SQLite file.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    library = load_library("mlflow", "MLflow", "narrows[mlflow]")
    _check_sqlite(path)
    count = 0
    try:
        with _quiet():
            client = library.MlflowClient(tracking_uri=f"sqlite:///{path.absolute()}")
            for model in models:
                _log(library, client, model)
                count += len(model.points)
    except library.exceptions.MlflowException as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        raise StoreError(f"MLflow cannot write {path}: {reason}") from error
    return count


def _check_sqlite(path: Path) -> None:
    """Create the file where it is missing, and refuse one of another kind."""
    try:
        with path.open("a+b") as file:
            file.seek(0)
            start = file.read(len(_SQLITE))
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    if start not in (b"", _SQLITE):
        raise StoreError(f"{path} is no SQLite file; name another one")


def _log(library: ModuleType, client: Any, model: TrackedModel) -> None:
    entities = library.entities
    home = _experiment(client, model)
    for run in client.search_runs([home], f"tags.`{_TAG}` = '{model.name}'"):
        client.delete_run(run.info.run_id)
    milliseconds = int(1000 * model.time)
    run = client.create_run(home, milliseconds, {_TAG: model.name}, model.name)
    metrics = [
        entities.Metric(name, value, milliseconds, step) for name, step, value in model.points
    ]
    params = [entities.Param(name, str(value)) for name, value in model.settings.items()]
    client.log_batch(run.info.run_id, params=params)
    for start in range(0, len(metrics), 1000):  # as many as a batch may hold
        client.log_batch(run.info.run_id, metrics[start : start + 1000])
    client.set_terminated(run.info.run_id, end_time=milliseconds)


def _experiment(client: Any, model: TrackedModel) -> str:
    stored = client.get_experiment_by_name(model.data)
    return client.create_experiment(model.data) if stored is None else stored.experiment_id


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's messages about the tables that it creates."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
