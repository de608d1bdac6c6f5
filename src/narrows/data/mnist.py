"""MNIST and Fashion-MNIST: 60,000 training and 10,000 test images of 28x28, ten classes.

Sources: LeCun, Bottou, Bengio & Haffner (1998), "Gradient-based learning applied to document
recognition"; Xiao, Rasul & Vollgraf (2017), arXiv 1708.07747. The test set is the published one.
The published training set is split into training and validation, stratified by class and always in
the same way; the default of 4:1 is that of AIB's experiments (Zhai & Zhang 2021, arXiv 2103.00381).
Images stay uint8 in memory, a quarter of the size of floats; batches return them divided by 255.
"""

from __future__ import annotations

import torch

from narrows.data._base import Dataset, Root, Splits, split_off
from narrows.data.fetch import Archive, Checksums, fetch
from narrows.data.idx import parse_idx

__all__ = ["FASHION_MNIST", "MNIST", "load_fashion_mnist", "load_mnist"]

_SPLIT_SEED = 0

MNIST = Archive(
    "mnist",
    {
        "train-images-idx3-ubyte": Checksums(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"
        ),
        "train-labels-idx1-ubyte": Checksums(
            "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"
        ),
        "t10k-images-idx3-ubyte": Checksums(
            "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"
        ),
        "t10k-labels-idx1-ubyte": Checksums(
            "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"
        ),
    },
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)

FASHION_MNIST = Archive(
    "fashion-mnist",
    {
        "train-images-idx3-ubyte": Checksums(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"
        ),
        "train-labels-idx1-ubyte": Checksums(
            "25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"
        ),
        "t10k-images-idx3-ubyte": Checksums(
            "bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"
        ),
        "t10k-labels-idx1-ubyte": Checksums(
            "bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"
        ),
    },
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
)


def load_mnist(root: Root = None, *, validation_share: float = 0.2) -> Splits:
    """Load MNIST, `x: [n, 1, 28, 28]` uint8: 48,000 / 12,000 / 10,000 images by default.

    Args:
        root: folder that holds the four idx files or their subfolder `mnist/`; searched before
            `NARROWS_DATA` and the user's cache, into which they are downloaded otherwise.
        validation_share: share of the 60,000 that is held out for validation.

    Raises:
        DataError: if a file is damaged, or missing and cannot be downloaded.
    """
    return _load(MNIST, root, validation_share)


def load_fashion_mnist(root: Root = None, *, validation_share: float = 0.2) -> Splits:
    """Load Fashion-MNIST: as `load_mnist`, from the subfolder `fashion-mnist/`."""
    return _load(FASHION_MNIST, root, validation_share)


def _load(archive: Archive, root: Root, validation_share: float) -> Splits:
    content = fetch(archive, root)
    learn, test = (_dataset(archive.name, content, part) for part in ("train", "t10k"))
    train, validation = split_off(learn, validation_share, _SPLIT_SEED)
    return Splits(train, validation, test)


def _dataset(name: str, content: dict[str, bytes], part: str) -> Dataset:
    images, labels = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    x = parse_idx(content[images], f"{name}/{images}").unsqueeze(1)
    y = parse_idx(content[labels], f"{name}/{labels}").to(torch.int64)
    return Dataset(name, x, y, classes=10)
