"""Data by name or path: `load("mnist") -> Splits(train, validation, test)`, held in memory."""

from __future__ import annotations

from typing import Protocol

from narrows.data._base import Dataset, Root, Splits, split_off
from narrows.data.augment import crop_and_flip
from narrows.data.batches import epoch_rows
from narrows.data.cifar import load_cifar10, load_cifar100
from narrows.data.digits import load_digits
from narrows.data.mnist import load_fashion_mnist, load_mnist
from narrows.data.objects import as_dataset, as_splits
from narrows.data.own import absolute_name, is_own, load_own, short_name
from narrows.data.svhn import load_svhn
from narrows.data.tiny_imagenet import load_tiny_imagenet
from narrows.data.toys import load_toy1, load_toy2
from narrows.data.twelve_bit import load_twelve_bit
from narrows.errors import ConfigError, unknown_name

__all__ = [
    "DATASETS",
    "Dataset",
    "Loader",
    "Splits",
    "absolute_name",
    "as_dataset",
    "as_splits",
    "check_name",
    "crop_and_flip",
    "epoch_rows",
    "load",
    "short_name",
    "split_off",
]


_SPLIT_SEED = 0


class Loader(Protocol):
    """A function that loads one data set, from `root` if its files are there."""

    def __call__(self, root: Root = None) -> Splits:
        """Return the three splits, the same on every call."""
        ...


DATASETS: dict[str, Loader] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion-mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "svhn": load_svhn,
    "tiny-imagenet": load_tiny_imagenet,
    "twelve-bit": load_twelve_bit,
    "toy1": load_toy1,
    "toy2": load_toy2,
}


def load(name: str, root: Root = None, validation_share: float | None = None) -> Splits:
    """Load a data set by its name in `DATASETS`, or data of your own.

    Args:
        name: of the data set; or a path to an .npz file or a folder of class folders of images, or
            `file.py:function`; see `narrows.data.own`.
        root: folder to search first for the files of a data set of `DATASETS`, where it has any.
        validation_share: share of the non-test data that is held out for validation, in (0, 1);
            None for the data set's own share.

    Raises:
        ConfigError: for an unknown name, listing the valid ones.
        DataError: if its files are missing or damaged, or cannot be trained on.

    Example:
        >>> load("digits").train
        Dataset('digits', 1079 x [1, 8, 8] float32, 10 classes)
    """
    check_name(name)
    splits = DATASETS[name](root) if name in DATASETS else load_own(name)
    if validation_share is None:
        return splits
    train, validation = split_off(splits.train + splits.validation, validation_share, _SPLIT_SEED)
    return Splits(train, validation, splits.test)


def check_name(name: str) -> None:
    """Refuse a name that is neither registered nor that of own data; nothing is loaded.

    Args:
        name: as `load` takes it.

    Raises:
        ConfigError: listing the valid names.
    """
    if name not in DATASETS and not is_own(name):
        error = unknown_name("data set", name, DATASETS)
        raise ConfigError(f"{error}; or file.py:function, an .npz file, a folder of images")
