"""Convert the folders of runs of layout 1 (before checksums) to layout 2; the old ones stay.

    python scripts/convert_runs.py OLD_FOLDER [OLD_FOLDER ...] --out runs

Unfinished runs are converted with their checkpoints and continue where they were. Audits and
attacks are not converted: their models are, and both commands can be run again.
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
from narrows.papers.aib import ExactPoint
from narrows.papers.vib import Embedding, ShotError
from narrows.runs import Member, ResolvedConfig, Run, load_config
from narrows.runs.data import load_splits
from narrows.runs.environment import Environment
from narrows.runs.files import make_folder, write_json, write_lines
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
from narrows.runs.records import LostMember, MemberRecord
from narrows.storage import load_tensors, save_tensors
from narrows.training import EpochRecord

_FIGURES = {"shot_errors": ShotError, "embeddings": Embedding, "exact_curve": ExactPoint}


def convert(old: Path, out: Path) -> Path:
    """Convert one folder and return the new one."""
    config = load_config(values=_json(old / "config.json"))
    splits, digest = load_splits(config)
    config = replace(config, data_sha256=digest)
    new = make_folder(out / f"{config.data}-{config.identity()}")
    write_json(new / CONFIG, "configuration", config)
    environment = msgspec.convert(_json(old / "environment.json"), Environment)
    write_json(new / "environment.json", "environment", environment)
    shape, classes = splits.train.shape, splits.train.classes
    for method in config.methods:
        if (old / method).is_dir():
            _convert_method(config, old / method, MethodFiles(new / method), shape, classes)
    if (old / DONE).exists():
        write_json(new / DONE, "completion mark", RunDone(config.methods, classes))
        write_json(new / SUMMARY, "summary", Run.open(new).summary)
    _convert_reevaluation(old, new)
    _convert_figures(old, new)
    return new


def _convert_method(
    config: ResolvedConfig, old: Path, new: MethodFiles, shape: tuple[int, ...], classes: int
) -> None:
    make_folder(new.folder / "records")
    if (old / "history.jsonl").exists():
        lines = (old / "history.jsonl").read_text().splitlines()
        write_lines(new.history, [msgspec.convert(json.loads(line), EpochRecord) for line in lines])
    if (old / "checkpoint.safetensors").exists():
        tensors, header = load_tensors(old / "checkpoint.safetensors")
        header["identity"] = f"{config.identity()}/{old.name}"
        save_tensors(new.checkpoint, tensors, header)
    if not (old / DONE).exists():
        return
    records = [msgspec.convert(plain, MemberRecord) for plain in _json(old / "results.json")]
    for record in records:
        write_json(new.record(record.member), RECORD, record)
    done = msgspec.convert(_json(old / DONE), MethodDone)
    failed = _json(old / "failed.json")["members"] if (old / "failed.json").exists() else []
    lost = [msgspec.convert(plain, LostMember) for plain in failed]
    best = {record.member: record.best_epoch for record in records}
    tensors, header = load_tensors(old / "models.safetensors")
    members = [Member(old.name, plain["beta"], plain["seed"]) for plain in header["members"]]
    stored = [StoredMember(member.beta, member.seed, best[member]) for member in members]
    weights = WeightsHeader(stored, shape, classes, lost, done.epochs, done.steps)
    save_tensors(new.models, tensors, asdict(weights))
    if lost:
        write_json(new.failed, "list of diverged models", lost)
    tensors, header = load_tensors(old / "pictures.safetensors")
    betas = {f"{member.beta:g}": repr(member.beta) for member in members}
    save_tensors(new.pictures, {_picture(k, betas): t for k, t in tensors.items()}, header)
    write_json(new.done, "completion mark", done)


def _picture(name: str, betas: dict[str, str]) -> str:
    beta, slash, rest = name.partition("/")
    return betas[beta] + slash + rest if slash else name.replace("_says", "_predicted")


def _convert_reevaluation(old: Path, new: Path) -> None:
    for path in (old / "reevaluation").glob("*.json"):
        plain = _json(path)
        method, beta, seed = path.stem.rsplit("-", 2) if "e-" not in path.stem else _split(path)
        settings = dict(plain["settings"])
        images = settings.pop("images")
        content = StoredReevaluation(
            msgspec.convert(settings, Reevaluation),
            images,
            msgspec.convert(plain["rows"], list[Row]),
        )
        member = Member(method, float(beta), int(seed))
        make_folder(new / "reevaluation")
        write_json(new / "reevaluation" / f"{member.key}.json", "re-evaluation of a model", content)


def _split(path: Path) -> tuple[str, str, str]:
    """Of `vib-1e-05-0`, whose beta has a dash in it."""
    method, rest = path.stem.split("-", 1)
    return method, *rest.rsplit("-", 1)


def _convert_figures(old: Path, new: Path) -> None:
    for name, kind in _FIGURES.items():
        if (old / "figures" / f"{name}.json").exists():
            rows = [_row(plain, kind) for plain in _json(old / "figures" / f"{name}.json")]
            make_folder(new / "figures")
            write_json(new / "figures" / f"{name}.json", name.replace("_", " "), rows)


def _row(plain: dict[str, Any], kind: type[Any]) -> Any:
    member = {name: plain[name] for name in ("method", "beta", "seed")}
    return msgspec.convert({**plain, "member": member}, kind)


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
def main(folders: tuple[Path, ...], out: Path) -> None:
    """Convert FOLDERS of layout 1 into new folders below OUT."""
    for folder in folders:
        try:
            click.echo(f"{folder} -> {convert(folder, out)}")
        except NarrowsError as error:
            raise click.UsageError(f"{folder}: {error}") from error


if __name__ == "__main__":
    main()
