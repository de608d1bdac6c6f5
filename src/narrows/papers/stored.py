"""Measurements on all models of a run, stored in its folder so that they are made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

from narrows.runs import Member, Progress, Run
from narrows.runs.files import locked_folder, read_json, write_json

__all__ = ["Measurement", "measured_members"]

T = TypeVar("T")


@dataclass(frozen=True)
class Measurement:
    """Base of what is measured on one model.

    Attributes:
        member: which model of the run.
    """

    member: Member


def measured_members(
    run: Run,
    name: str,
    row: type[T],
    measure: Callable[[Member, nn.Module], list[T]],
    progress: Progress,
) -> list[T]:
    """The rows of every trained model of a run; read back where they were measured before.

    Args:
        run: a complete one.
        name: of the measurement and of its file.
        row: type of a row, a dataclass.
        measure: makes the rows of one model.
        progress: where progress is shown.
    """
    kind: Any = list[row]
    with locked_folder(run.path / "figures") as folder:
        path = folder / f"{name}.json"
        if path.exists():
            return read_json(path, name.replace("_", " "), kind)
        rows: list[T] = []
        members = run.require_complete().members()
        with progress.bar(name.replace("_", " "), len(members)) as bar:
            for member in members:
                rows += measure(member, run.model(member))
                bar.advance()
        write_json(path, name.replace("_", " "), rows)
    return rows
