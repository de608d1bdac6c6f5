"""Make folders of runs again from what `docs/results` keeps of them: records, and no weights.

    python scripts/restore_runs.py docs/results/vib-table1 [...] --out runs

The models are not kept, so what comes out can be read (`narrows report`, `knee`, `reproduce --use`)
and neither attacked nor audited.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import msgspec

from narrows.errors import NarrowsError
from narrows.experiments.reevaluation import Reevaluation, Row, StoredReevaluation
from narrows.papers.vib import ShotError
from narrows.runs import Member, Run, load_config
from narrows.runs.data import load_splits
from narrows.runs.environment import Environment
from narrows.runs.files import make_folder, write_json
from narrows.runs.layout import (
    CONFIG,
    DONE,
    RECORD,
    SUMMARY,
    MethodDone,
    MethodFiles,
    RunDone,
    StoredMember,
    WeightsHeader,
)
from narrows.runs.records import MemberRecord
from narrows.storage import save_tensors


def restore(kept: Path, out: Path) -> Path:
    """Make one run's folder from what is kept of it, and return the folder."""
    plain = _content(kept / CONFIG)
    plain["settings"] = plain.pop("recipe", None)
    config = load_config(values={key: value for key, value in plain.items() if value is not None})
    splits, digest = load_splits(replace(config, data_sha256=""))
    config = replace(config, data_sha256=digest)
    new = make_folder(out / f"{config.data}-{config.identity()}")
    write_json(new / CONFIG, "configuration", config)
    environment = msgspec.convert(_content(kept / "environment.json"), Environment)
    write_json(new / "environment.json", "environment", environment)
    results: dict[str, Any] = _content(kept / "results.json")
    for method in config.methods:
        files = MethodFiles(new / method)
        make_folder(files.folder / "records")
        records = [msgspec.convert(record, MemberRecord) for record in results[method]]
        for record in records:
            write_json(files.record(record.member), RECORD, record)
        members = [StoredMember(record.beta, record.seed, record.best_epoch) for record in records]
        header = WeightsHeader(members, splits.train.shape, splits.train.classes)
        save_tensors(files.models, {}, asdict(header))
        write_json(files.done, "completion mark", MethodDone(config.train.epochs, 0))
    write_json(new / DONE, "completion mark", RunDone(config.methods, splits.train.classes))
    write_json(new / SUMMARY, "summary", Run.open(new).summary)
    _restore_errors(kept / "shot_errors.json", new / "figures")
    _restore_reevaluation(kept / "reevaluation.json", new / "reevaluation")
    return new


def _restore_errors(kept: Path, folder: Path) -> None:
    if kept.exists():
        rows = [
            msgspec.convert({**row, "member": _member(row)}, ShotError) for row in _content(kept)
        ]
        write_json(make_folder(folder) / "shot_errors.json", "shot errors", rows)


def _restore_reevaluation(kept: Path, folder: Path) -> None:
    if not kept.exists():
        return
    for plain in _content(kept):
        settings = dict(plain["settings"])
        images = settings.pop("images")
        rows = msgspec.convert(plain["rows"], list[Row])
        stored = StoredReevaluation(msgspec.convert(settings, Reevaluation), images, rows)
        member = Member(**_member(plain))
        path = make_folder(folder) / f"{member.key}.json"
        write_json(path, "re-evaluation of a model", stored)


def _member(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: plain[name] for name in ("method", "beta", "seed")}


def _content(path: Path) -> Any:
    plain = json.loads(path.read_text())
    enveloped = isinstance(plain, dict) and {"format", "kind", "content"} <= plain.keys()
    return plain["content"] if enveloped else plain


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
def main(folders: tuple[Path, ...], out: Path) -> None:
    """Make the runs of FOLDERS again below OUT."""
    for folder in folders:
        try:
            click.echo(f"{folder} -> {restore(folder, out)}")
        except NarrowsError as error:
            raise click.UsageError(f"{folder}: {error}") from error


if __name__ == "__main__":
    main()
