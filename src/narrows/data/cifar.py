"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images of 3x32x32.

    record = label (CIFAR-100: coarse label, fine label), 1,024 red, 1,024 green, 1,024 blue bytes

Source: Krizhevsky (2009), "Learning multiple layers of features from tiny images", whose binary
version is read: records one after another, which cannot contain code. The archive may be packed, as
published, or unpacked. The labels of CIFAR-100 are its hundred fine classes.

The test set is the published one; of the 50,000, a tenth of each class is held out for validation,
always the same images. Images stay uint8 in memory; batches return them divided by 255.
"""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.data._base import Dataset, Root, Splits, split_off
from narrows.data.fetch import Archive, Checksums, fetch, find, members
from narrows.errors import DataError

__all__ = ["CIFAR10", "CIFAR100", "load_cifar10", "load_cifar100", "parse_cifar"]

_SPLIT_SEED = 0
_PIXELS = 3 * 32 * 32
_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)

# The folder that the archive unpacks to, and the archive.
CIFAR10 = (
    Archive(
        "cifar-10-batches-bin",
        {
            "data_batch_1.bin": Checksums(None, "5dd7e06a14cb22eb9f671a540d1b7c25"),
            "data_batch_2.bin": Checksums(None, "5ea93a67294ea407fff1d09f752e9692"),
            "data_batch_3.bin": Checksums(None, "942cd6a4bcdd0dd3c604fbe906cb4421"),
            "data_batch_4.bin": Checksums(None, "ae636b3ba5c66a11e91e8cb52e771fcb"),
            "data_batch_5.bin": Checksums(None, "53f37980c15c3d472c316c40844f3f0d"),
            "test_batch.bin": Checksums(None, "803d5f7f4d78ea53de84dbe85f74fb6d"),
        },
        (),
        within="cifar10",
    ),
    Archive(
        "cifar10",
        {"cifar-10-binary.tar.gz": Checksums(None, "c32a1d4ab5d03f1284b67883e8d87530")},
        _MIRRORS,
        instead="the folder cifar-10-batches-bin that it unpacks to",
    ),
)

CIFAR100 = (
    Archive(
        "cifar-100-binary",
        {
            "train.bin": Checksums(None, "6172c7755cfe09b2fe270c85cebc1b15"),
            "test.bin": Checksums(None, "4499cfba6c016c1be1438163640a0898"),
        },
        (),
        within="cifar100",
    ),
    Archive(
        "cifar100",
        {"cifar-100-binary.tar.gz": Checksums(None, "03b5dce01913d631647c71ecec9e9cb8")},
        _MIRRORS,
        instead="the folder cifar-100-binary that it unpacks to",
    ),
)


def load_cifar10(root: Root = None, *, validation_share: float = 0.1) -> Splits:
    """Load CIFAR-10, `x: [n, 3, 32, 32]` uint8: 45,000 / 5,000 / 10,000 images by default.

    Args:
        root: folder that holds the archive, or the folder `cifar-10-batches-bin` that it unpacks
            to, or their subfolder `cifar10/`; searched before `NARROWS_DATA` and the user's cache,
            where the archive is downloaded to if nothing is found.
        validation_share: share of the 50,000 that is held out for validation.

    Raises:
        DataError: if a file is damaged, or missing and cannot be downloaded.
    """
    return _load("cifar10", CIFAR10, root, validation_share, classes=10)


def load_cifar100(root: Root = None, *, validation_share: float = 0.1) -> Splits:
    """Load CIFAR-100 with its 100 fine classes: as `load_cifar10`, from `cifar-100-binary`."""
    return _load("cifar100", CIFAR100, root, validation_share, classes=100)


def parse_cifar(content: bytes, name: str, labels: int = 1) -> tuple[Tensor, Tensor]:
    """Images `[n, 3, 32, 32]` uint8 and labels `[n]` int64 of a binary batch.

    Args:
        content: of the file.
        name: of the file, for errors.
        labels: number of label bytes per record, of which the last is used.

    Raises:
        DataError: if the content is not a whole number of records.
    """
    size = labels + _PIXELS
    if not content or len(content) % size:
        raise DataError(
            f"{name}: expected a multiple of {size:,} bytes, got {len(content):,} bytes; "
            "the file is damaged, or belongs to another data set"
        )
    # A copy, because a tensor must not share the memory of immutable bytes.
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, size)
    return records[:, labels:].reshape(-1, 3, 32, 32), records[:, labels - 1].to(torch.int64)


def _load(
    name: str, published: tuple[Archive, Archive], root: Root, share: float, classes: int
) -> Splits:
    unpacked, packed = published
    content = find(unpacked, root)
    if len(content) < len(unpacked.files):
        ((archive, tar),) = fetch(packed, root).items()
        content = members(tar, archive, unpacked.files)
    parsed = [
        parse_cifar(content[file], f"{name}/{file}", labels=1 if classes == 10 else 2)
        for file in unpacked.files
    ]
    *learn, test = (Dataset(name, x, y, classes) for x, y in parsed)
    x, y = torch.cat([part.x for part in learn]), torch.cat([part.y for part in learn])
    train, validation = split_off(Dataset(name, x, y, classes), share, _SPLIT_SEED)
    return Splits(train, validation, test)
