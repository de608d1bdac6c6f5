"""Whether every file of a run is what was written, and how two runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from narrows.errors import NarrowsError
from narrows.runs import Run
from narrows.runs.data import read_data_record
from narrows.runs.environment import Environment
from narrows.runs.files import read_json
from narrows.storage import load_tensors

__all__ = ["compare_runs", "damage", "settings_of"]

_INCIDENTAL = frozenset({"command", "started", "resumed"})


def damage(folder: str | Path) -> list[str]:
    """What is wrong with the files of a run, one line each; none where all checksums are right.

    Configuration, environment, weights, histories, records, summary and attacks are read and
    compared with their checksums; an unfinished method is checked as far as it has come.

    Args:
        folder: of the run.
    """
    faults = []
    try:
        run = Run.open(folder)
    except NarrowsError as error:
        return [_line(error)]
    for check in _checks(run):
        try:
            check()
        except NarrowsError as error:
            faults.append(_line(error))
    return faults


def _checks(run: Run) -> Iterator[Any]:
    yield lambda: run.environment
    yield lambda: read_data_record(run.path)
    for method in run.config.methods:
        files = run.files(method)
        if files.history.exists():
            yield lambda method=method: run.history(method)
        if files.done.exists():
            yield lambda method=method: run.records([method])
            yield lambda files=files: read_json(files.done, "completion mark", dict[str, Any])
        for path in (files.models, files.pictures, files.checkpoint):
            if path.exists():
                yield lambda path=path: load_tensors(path, kind=f"file of {path.stem}")
    for name, kind in (("summary.json", "summary"), ("done.json", "completion mark")):
        if (run.path / name).exists():
            yield lambda name=name, kind=kind: read_json(run.path / name, kind, dict[str, Any])
    for path in sorted((run.path / "attacks").rglob("*.json")):
        yield lambda path=path: read_json(path, "attack on a model", dict[str, Any])


def compare_runs(first: str | Path, second: str | Path) -> list[tuple[str, Any, Any]]:
    """What differs between two runs: settings, environment and results, each by its name.

    Args:
        first: folder of a run.
        second: folder of another one.

    Raises:
        StoreError: for a folder that is no run's, or damaged files.
    """
    sides = [_described(Run.open(folder)) for folder in (first, second)]
    names = dict.fromkeys([*sides[0], *sides[1]])
    pairs = ((name, *(side.get(name) for side in sides)) for name in names)
    return [(name, left, right) for name, left, right in pairs if left != right]


def settings_of(run: Run) -> dict[str, Any]:
    """Every setting of a run by its name, like `train.epochs`; own files without their folders."""
    return dict(_flat(msgspec.to_builtins(run.config.without_places())))


def _described(run: Run) -> dict[str, Any]:
    described = settings_of(run)
    environment: Environment = run.environment
    described |= {
        f"environment.{name}": value
        for name, value in vars(environment).items()
        if name not in _INCIDENTAL
    }
    if not run.complete:
        return described | {"state": "unfinished"}
    for method, summary in run.summary.items():
        described[f"result.{method}.chosen_beta"] = summary.chosen_beta
        for row in summary.rows:
            for part, spread in row.accuracy.items():
                described[f"result.{method}.{row.beta:g}.accuracy.{part}"] = spread.mean
            for part, (rate, relevance) in row.information_bits.items():
                described[f"result.{method}.{row.beta:g}.rate_bits.{part}"] = rate.mean
                described[f"result.{method}.{row.beta:g}.relevance_bits.{part}"] = relevance.mean
    return described


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        if isinstance(part, Mapping):
            yield from _flat(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
