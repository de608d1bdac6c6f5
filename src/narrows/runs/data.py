"""The data of a run, and the hash that binds its results to their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from narrows.data import Dataset, Splits, load
from narrows.errors import ConfigError, DataError
from narrows.runs.config import ResolvedConfig
from narrows.runs.files import read_json, write_json
from narrows.runs.layout import DATA

__all__ = [
    "DataRecord",
    "PartRecord",
    "describe_data",
    "load_run_splits",
    "load_splits",
    "read_data_record",
    "splits_digest",
]

_KIND = "description of the data"


@dataclass(frozen=True)
class PartRecord:
    """One of the three parts: how many samples it has, and the SHA-256 of their content."""

    samples: int
    sha256: str


@dataclass(frozen=True)
class DataRecord:
    """What a run was trained and tested on.

    Attributes:
        name: of the data.
        parts: by name.
        shape: of one input.
        classes: number of classes.
        image: whether inputs are images in [0, 1].
        class_names: what the classes are called, in their order; empty for their numbers.
        notes: what was done to the data when they were read.
    """

    name: str
    parts: dict[str, PartRecord]
    shape: list[int]
    classes: int
    image: bool
    class_names: list[str]
    notes: list[str]


def load_splits(config: ResolvedConfig) -> tuple[Splits, str]:
    """Load the three parts of a run's data on the CPU, and the hash of all that was loaded.

    Of the training set only the first `train_images` are returned, where there is such a limit.

    Raises:
        ConfigError: if the configuration was made for data of another content.
        DataError: if the data cannot be loaded.
    """
    splits = load(config.data, validation_share=config.validation_share)
    digest = splits_digest(splits)
    if config.data_sha256 not in ("", digest):
        raise _changed(config, digest)
    return _used(config, splits), digest


def _used(config: ResolvedConfig, splits: Splits) -> Splits:
    """The part of the training set that is trained on."""
    if not config.train_images:
        return splits
    return splits._replace(train=splits.train.take(slice(0, config.train_images)))


def load_run_splits(config: ResolvedConfig, folder: Path) -> Splits:
    """Load the data of a run that has a folder.

    Raises:
        ConfigError: if their content is another, saying what differs.
        DataError: if they cannot be loaded.
    """
    try:
        splits = load(config.data, validation_share=config.validation_share)
    except DataError as error:
        raise DataError(f"the data of {folder} cannot be loaded: {error}") from error
    digest = splits_digest(splits)
    splits = _used(config, splits)
    if config.data_sha256 in ("", digest):
        return splits
    record = read_data_record(folder)
    raise _changed(config, digest, "" if record is None else _difference(record, splits))


def read_data_record(folder: Path) -> DataRecord | None:
    """What a run was trained and tested on; `None` for a run of an earlier version.

    Raises:
        StoreError: for a damaged file.
    """
    path = folder / DATA
    return read_json(path, _KIND, DataRecord) if path.exists() else None


def describe_data(folder: Path, config: ResolvedConfig, splits: Splits) -> None:
    """Write what a run is trained and tested on into its folder.

    Args:
        folder: of the run.
        config: names the data.
        splits: the data themselves.
    """
    write_json(folder / DATA, _KIND, _record(config.data_name, splits))


def _record(name: str, splits: Splits) -> DataRecord:
    train = splits.train
    return DataRecord(
        name=name,
        parts={
            part: PartRecord(len(data), _part_digest(data))
            for part, data in splits._asdict().items()
        },
        shape=list(train.shape),
        classes=train.classes,
        image=train.image,
        class_names=list(train.class_names),
        notes=list(train.notes),
    )


def _changed(config: ResolvedConfig, digest: str, difference: str = "") -> ConfigError:
    return ConfigError(
        f"{config.data_name} has changed since this configuration was made{difference}: its "
        f"content has the hash {digest[:12]}, expected {config.data_sha256[:12]}; restore the "
        "data, or remove data_sha256 from the configuration to begin another run"
    )


def _difference(record: DataRecord, splits: Splits) -> str:
    """What is not as it was, in brackets."""
    now = _record(record.name, splits)
    differences = [
        f"{key} was {before} and is {after}"
        for key in ("shape", "classes", "image")
        if (before := getattr(record, key)) != (after := getattr(now, key))
    ]
    if record.class_names != now.class_names:
        differences.append("the classes have other names")
    for part, before in record.parts.items():
        after = now.parts[part]
        if before.samples != after.samples:
            differences.append(f"{part} had {before.samples} samples and has {after.samples}")
        elif before != after:
            differences.append(f"{part} has other values")
    return f" ({'; '.join(differences)})" if differences else ""


def splits_digest(splits: Splits) -> str:
    """SHA-256 of inputs, labels, class count and class names of all three parts."""
    digest = hashlib.sha256()
    for name, part in splits._asdict().items():
        digest.update(_header(name, part))
        for tensor in (part.x, part.y):
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def _part_digest(part: Dataset) -> str:
    digest = hashlib.sha256()
    for tensor in (part.x, part.y):
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _header(name: str, part: Dataset) -> bytes:
    text = f"{name} {part.x.dtype} {tuple(part.x.shape)} {part.classes} {part.image}"
    # Names are left out where there are none, so that runs on registered data keep their hashes.
    return (f"{text} {part.class_names}" if part.class_names else text).encode()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
