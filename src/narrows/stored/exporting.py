"""The records of many runs as one long table, a line for each number, run by run."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from narrows.errors import StoreError
from narrows.experiments.member_attacks import MemberAttack
from narrows.libraries import load_library
from narrows.runs import MemberRecord, Run
from narrows.runs.files import read_json
from narrows.runs.records import AttackRecord

__all__ = ["ExportRow", "export_csv", "export_parquet", "export_rows", "model_rows"]


class ExportRow(NamedTuple):
    """One number of one model.

    Attributes:
        run: name of the folder.
        data: name of the data set.
        network: of the method.
        method: of the model, likewise `beta` and `seed`.
        beta: of the model.
        seed: of the model.
        quantity: what it is: `accuracy/test`, `kde_upper/train` (nats), `pgd/linf/0.1`.
        value: the number; `None` where it was not finite.
        std_error: its standard error, if it has one.
    """

    run: str
    data: str
    network: str
    method: str
    beta: float
    seed: int
    quantity: str
    value: float | None
    std_error: float | None


def export_rows(folders: Iterable[Path]) -> Iterator[ExportRow]:
    """The numbers of all models of finished methods; one run is held at a time.

    Args:
        folders: of runs.

    Raises:
        StoreError: for a damaged file.
    """
    for folder in folders:
        for _, rows in model_rows(Run.open(folder)):
            yield from rows


def model_rows(run: Run) -> Iterator[tuple[MemberRecord, list[ExportRow]]]:
    """The record of each model of the finished methods, with its numbers.

    Args:
        run: that the models were trained in.

    Raises:
        StoreError: for a damaged file.
    """
    later: dict[str, list[AttackRecord]] = {}
    for path in sorted((run.path / "attacks").rglob("*.json")):
        attacked = read_json(path, "attack on a model", MemberAttack)
        later.setdefault(attacked.member.key, []).append(attacked.record)
    for record in run.records(run.finished_methods):
        yield record, list(_rows(run, record, later.get(record.member.key, [])))


def export_csv(rows: Iterable[ExportRow], path: Path) -> int:
    """Write a CSV file line by line, and return the number of lines.

    Raises:
        StoreError: if it cannot be written.
    """
    count = 0
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(ExportRow._fields)
            for row in rows:
                writer.writerow(row)
                count += 1
    except StoreError:  # of a run, an OSError too
        raise
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    return count


def export_parquet(rows: Iterable[ExportRow], path: Path) -> int:
    """Write a Parquet file, which needs pandas and pyarrow, and return the number of lines.

    Raises:
        ConfigError: where they are not installed.
        StoreError: if it cannot be written.
    """
    pandas, _ = (
        load_library(name, "Parquet", "narrows[parquet]") for name in ("pandas", "pyarrow")
    )
    table = pandas.DataFrame(rows, columns=ExportRow._fields)
    try:
        table.to_parquet(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    return len(table)


def _rows(run: Run, record: MemberRecord, later: list[AttackRecord]) -> Iterator[ExportRow]:
    member = record.member
    network = run.config.networks[member.method].short().name
    start = (run.path.name, run.config.data_name, network, member.method, member.beta, member.seed)
    for part, value in vars(record.accuracy).items():
        yield ExportRow(*start, f"accuracy/{part}", value, None)
    if record.sampled_test_accuracy is not None:
        yield ExportRow(*start, "accuracy/test, sampled", record.sampled_test_accuracy, None)
    for part, estimates in record.information.items():
        for name, estimate in estimates.items():
            yield ExportRow(*start, f"{name}/{part}", estimate.nats, estimate.std_error)
    for attack in [*(record.attacks or []), *later]:
        name = f"{attack.attack}/{attack.norm}"
        if attack.eps is not None:
            yield ExportRow(*start, f"{name}/{attack.eps!r}", attack.accuracy, None)
        else:
            yield ExportRow(*start, f"{name}/median", attack.median_distance, None)
