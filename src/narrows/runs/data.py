"""The data of a run, and the hash that binds its results to their content."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from narrows.data import Dataset, Splits, load
from narrows.errors import ConfigError
from narrows.runs.config import ResolvedConfig

__all__ = ["load_splits", "splits_digest"]


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
        raise ConfigError(
            f"{config.data} has changed since this configuration was made: its content has the "
            f"hash {digest[:12]}, expected {config.data_sha256[:12]}; restore the data, or remove "
            "data_sha256 from the configuration to begin another run"
        )
    if config.train_images:
        splits = splits._replace(train=splits.train.take(slice(0, config.train_images)))
    return splits, digest


def splits_digest(splits: Splits) -> str:
    """SHA-256 of inputs, labels and class count of all three parts."""
    digest = hashlib.sha256()
    for name, part in splits._asdict().items():
        digest.update(_header(name, part))
        for tensor in (part.x, part.y):
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def _header(name: str, part: Dataset) -> bytes:
    return f"{name} {part.x.dtype} {tuple(part.x.shape)} {part.classes} {part.image}".encode()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
