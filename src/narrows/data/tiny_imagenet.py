"""Tiny ImageNet: 500 training images of each of 200 classes, 10,000 test images, of 3x64x64.

Source: Stanford's course CS231n (2015); IB-RAR (Xu et al. 2022, arXiv 2302.10896) trains on it. The
labels of its test set were never published, so the published validation set is used as test set, as
is common practice. A tenth of each class of the training images is held out for validation, always
the same images.

The images are JPEGs in a zip archive, which may be unpacked. They are decoded once, into one file
in the user's cache, whose name contains a hash of the names, sizes and labels of the JPEGs.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from narrows.data._base import Dataset, Root, Splits, split_off
from narrows.data._files import is_file, read_file
from narrows.data.fetch import Archive, Checksums, fetch, places
from narrows.errors import DataError

__all__ = ["TINY_IMAGENET", "load_tiny_imagenet"]

_SPLIT_SEED = 0
_SIDE = 64
_TOP = "tiny-imagenet-200"

TINY_IMAGENET = Archive(
    "tiny-imagenet",
    {f"{_TOP}.zip": Checksums(None, "90528d7ca1a48142e341f4ef8d21d0de")},
    ("http://cs231n.stanford.edu/",),
    instead=f"the folder {_TOP} that it unpacks to",
)


class _Files(NamedTuple):
    """Access to the files of the data set, zipped or not."""

    where: str
    read: Callable[[str], bytes]
    size: Callable[[str], int]


class _Entry(NamedTuple):
    file: str
    label: int


def load_tiny_imagenet(root: Root = None, *, validation_share: float = 0.1) -> Splits:
    """Load Tiny ImageNet, `x: [n, 3, 64, 64]` uint8: 90,000 / 10,000 / 10,000 images by default.

    The first time takes minutes, and 1.4 GB of memory and of the user's cache.

    Args:
        root: folder that holds the archive, or the folder `tiny-imagenet-200` that it unpacks to;
            searched before `NARROWS_DATA` and the user's cache, into which the archive is
            downloaded otherwise.
        validation_share: share of the training images that is held out for validation.

    Raises:
        DataError: if a file is damaged, or missing and cannot be downloaded, or the decoded images
            cannot be written.
    """
    files = _open(root)
    try:
        names, parts = _listed(files)
        digest = _fingerprint(files, parts)
        cache = places(TINY_IMAGENET, root)[-1] / f"decoded-{digest}.safetensors"
        if not cache.exists():
            _write(cache, {part: _decode(files, entries) for part, entries in parts.items()})
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{files.where}: cannot be read ({error}); unpack it again") from error
    images = _read(cache, {part: len(entries) for part, entries in parts.items()})
    learn, test = (
        Dataset("tiny-imagenet", images[part], torch.tensor([e.label for e in entries]), len(names))
        for part, entries in parts.items()
    )
    train, validation = split_off(learn, validation_share, _SPLIT_SEED)
    return Splits(train, validation, test)


def _open(root: Root) -> _Files:
    folders = [place / _TOP for place in places(TINY_IMAGENET, root)]
    if unpacked := [folder for folder in folders if is_file(folder / "wnids.txt")]:
        return _Files(
            str(unpacked[0]),
            lambda name: read_file(unpacked[0] / name),
            lambda name: (unpacked[0] / name).stat().st_size,
        )
    ((name, content),) = fetch(TINY_IMAGENET, root).items()
    archive = zipfile.ZipFile(io.BytesIO(content))
    return _Files(
        name,
        lambda name: archive.read(f"{_TOP}/{name}"),
        lambda name: archive.getinfo(f"{_TOP}/{name}").file_size,
    )


def _listed(files: _Files) -> tuple[list[str], dict[str, list[_Entry]]]:
    """The classes, and every image of both parts with its label, from the archive's lists."""
    names = files.read("wnids.txt").decode().split()
    learn = [
        _Entry(f"train/{name}/images/{line.split()[0]}", label)
        for label, name in enumerate(names)
        for line in files.read(f"train/{name}/{name}_boxes.txt").decode().splitlines()
    ]
    test = [
        _Entry(f"val/images/{line.split()[0]}", names.index(line.split()[1]))
        for line in files.read("val/val_annotations.txt").decode().splitlines()
    ]
    return names, {"train": learn, "test": test}


def _fingerprint(files: _Files, parts: dict[str, list[_Entry]]) -> str:
    lines = [f"{e.file} {e.label} {files.size(e.file)}" for part in parts.values() for e in part]
    return hashlib.md5("\n".join(lines).encode(), usedforsecurity=False).hexdigest()[:16]


def _decode(files: _Files, entries: list[_Entry]) -> Tensor:
    images = torch.empty(len(entries), 3, _SIDE, _SIDE, dtype=torch.uint8)
    for row, entry in enumerate(entries):
        try:
            with Image.open(io.BytesIO(files.read(entry.file))) as image:
                pixels = np.array(image.convert("RGB"))  # some are grey
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
            raise DataError(f"{files.where}/{entry.file}: damaged image ({error})") from error
        if pixels.shape != (_SIDE, _SIDE, 3):
            height, width = pixels.shape[:2]
            raise DataError(
                f"{files.where}/{entry.file}: expected {_SIDE}x{_SIDE}, got {width}x{height} pixels"
            )
        images[row] = torch.from_numpy(pixels).permute(2, 0, 1)
    return images


def _write(path: Path, images: dict[str, Tensor]) -> None:
    """Write a temporary file and rename it, so that an interrupted run leaves no partial file."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(images, temporary)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise DataError(f"{path}: the decoded images cannot be written ({error})") from error


def _read(path: Path, sizes: dict[str, int]) -> dict[str, Tensor]:
    try:
        images = load_file(path)
    except (OSError, SafetensorError) as error:
        images, reason = {}, str(error)
    else:
        reason = "another number of images"
    if {part: len(tensor) for part, tensor in images.items()} != sizes:
        raise DataError(f"{path}: damaged ({reason}); delete it to have the images decoded again")
    return images
