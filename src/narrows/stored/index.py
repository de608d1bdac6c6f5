"""An index of the runs in a folder, rebuilt from their own files whenever these have changed.

The index is a cache, `.index.json`, and may be deleted at any time. An entry is kept as long as
size and time of change of the files that it was read from are the same. This module does not
import torch.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from narrows.errors import ConfigError, StoreError, unknown_name

__all__ = ["FIELDS", "StoredRun", "list_runs", "matching"]

_INDEX, _FORMAT = ".index.json", 1
_FILES = ("config.json", "done.json", "summary.json")


class Outcome(msgspec.Struct, frozen=True):
    """What came of one method: its chosen beta, and the mean accuracy on test data there."""

    method: str
    beta: float | None
    accuracy: float | None


class StoredRun(msgspec.Struct, frozen=True):
    """One folder of a run.

    Attributes:
        name: of the folder.
        data: name of the data set.
        methods: names of methods.
        networks: their networks, each once.
        betas: number of betas, over all methods.
        seeds: number of seeds.
        models: number of models that were asked for.
        epochs: at most.
        adversarial: adversarial training; `None` for none.
        state: `"complete"`, `"unfinished"` or `"unreadable"`.
        outcomes: of each method of a complete run.
        modified: time of the last change of its configuration or results, seconds since 1970.
        marks: size and time of change of the files that this was read from.
    """

    name: str
    data: str = ""
    methods: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    betas: int = 0
    seeds: int = 0
    models: int = 0
    epochs: int = 0
    adversarial: str | None = None
    state: str = "unreadable"
    outcomes: tuple[Outcome, ...] = ()
    modified: float = 0.0
    marks: tuple[int, ...] = ()

    @property
    def accuracy(self) -> float | None:
        """The best of its methods."""
        known = [outcome.accuracy for outcome in self.outcomes if outcome.accuracy is not None]
        return max(known, default=None)


FIELDS: Mapping[str, Callable[[StoredRun], Sequence[object]]] = {
    "name": lambda run: [run.name],
    "data": lambda run: [run.data],
    "method": lambda run: run.methods,
    "network": lambda run: run.networks,
    "adversarial": lambda run: [run.adversarial or "none"],
    "seeds": lambda run: [run.seeds],
    "betas": lambda run: [run.betas],
    "models": lambda run: [run.models],
    "epochs": lambda run: [run.epochs],
    "state": lambda run: [run.state],
}
"""What a list can be filtered by: the values that a run has."""


def list_runs(folder: str | Path) -> list[StoredRun]:
    """The runs in a folder by name; the index beside them is brought up to date.

    Args:
        folder: that holds the folders of runs.

    Raises:
        StoreError: if there is no such folder.
    """
    path = Path(folder)
    if not path.is_dir():
        raise StoreError(f"there is no folder {path}")
    before = _read_index(path)
    names = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    runs = []
    for name in names:
        marks = _marks(path / name)
        if marks[0]:
            kept = before.get(name)
            runs.append(kept if kept and kept.marks == marks else _read_run(path / name, marks))
    if {run.name: run for run in runs} != before:
        _write_index(path, runs)
    return runs


def matching(runs: Sequence[StoredRun], where: Sequence[str]) -> list[StoredRun]:
    """The runs that have all of these values.

    Args:
        runs: from `list_runs`.
        where: `field=value`, of `FIELDS`; `field=a,b` for either.

    Raises:
        ConfigError: for another field, or text without a `=`.
    """
    kept = list(runs)
    for condition in where:
        key, equals, wanted = condition.partition("=")
        if not equals:
            raise ConfigError(f"expected FIELD=VALUE, like data=digits, got {condition!r}")
        if key not in FIELDS:
            raise unknown_name("field of a run", key, FIELDS)
        values = set(wanted.split(","))
        kept = [run for run in kept if values & {str(value) for value in FIELDS[key](run)}]
    return kept


class _Network(msgspec.Struct):
    name: str = "mlp"


class _Train(msgspec.Struct):
    epochs: int


class _Config(msgspec.Struct):
    data: str
    methods: tuple[str, ...]
    grids: dict[str, list[float]]
    networks: dict[str, _Network]
    train: _Train
    seeds: int
    adversarial: str | None = None


class _ConfigFile(msgspec.Struct):
    content: _Config


class _Spread(msgspec.Struct):
    mean: float


class _Row(msgspec.Struct):
    beta: float
    accuracy: dict[str, _Spread]


class _Summary(msgspec.Struct):
    chosen_beta: float | None
    rows: list[_Row]


class _SummaryFile(msgspec.Struct):
    content: dict[str, _Summary]


class _Index(msgspec.Struct):
    format: int
    runs: list[StoredRun]


def _marks(folder: Path) -> tuple[int, ...]:
    """Size and time of change of each file that an entry is read from; 0 where it is missing."""
    marks: list[int] = []
    for name in _FILES:
        try:
            stat = os.stat(f"{folder}/{name}")
            marks += [stat.st_size, stat.st_mtime_ns]
        except OSError:
            marks += [0, 0]
    return tuple(marks)


def _read_run(folder: Path, marks: tuple[int, ...]) -> StoredRun:
    modified = max(marks[1::2]) / 1e9
    try:
        config = _decode(folder / "config.json", _ConfigFile).content
        complete = bool(marks[2])
        summaries = _decode(folder / "summary.json", _SummaryFile).content if complete else {}
    except (OSError, msgspec.DecodeError):
        return StoredRun(folder.name, modified=modified, marks=marks)
    betas = sum(map(len, config.grids.values()))
    return StoredRun(
        name=folder.name,
        data=config.data.rpartition("/")[2],  # of own data without their folder
        methods=config.methods,
        networks=tuple(dict.fromkeys(part.name for part in config.networks.values())),
        betas=betas,
        seeds=config.seeds,
        models=betas * config.seeds,
        epochs=config.train.epochs,
        adversarial=config.adversarial,
        state="complete" if complete else "unfinished",
        outcomes=tuple(_outcome(method, part) for method, part in summaries.items()),
        modified=modified,
        marks=marks,
    )


def _outcome(method: str, summary: _Summary) -> Outcome:
    rows = [row for row in summary.rows if row.beta == summary.chosen_beta]
    accuracy = rows[0].accuracy["test"].mean if rows and "test" in rows[0].accuracy else None
    return Outcome(method, summary.chosen_beta, accuracy)


def _decode(path: Path, kind: type[Any]) -> Any:
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return msgspec.json.decode(path.read_bytes(), type=kind)


def _read_index(folder: Path) -> dict[str, StoredRun]:
    try:
        index = _decode(folder / _INDEX, _Index)
    except (OSError, msgspec.DecodeError):
        return {}
    return {run.name: run for run in index.runs} if index.format == _FORMAT else {}


def _write_index(folder: Path, runs: list[StoredRun]) -> None:
    """Write the cache; a folder that cannot be written to is listed without one."""
    temporary = folder / f"{_INDEX}.{os.getpid()}.tmp"
    try:
        temporary.write_bytes(msgspec.json.encode(_Index(_FORMAT, runs)))
        temporary.replace(folder / _INDEX)
    except OSError:
        temporary.unlink(missing_ok=True)
