"""SVHN: digits of house numbers, 73,257 training and 26,032 test images of 3x32x32.

Source: Netzer, Wang, Coates, Bissacco, Wu & Ng (2011), "Reading digits in natural images with
unsupervised feature learning", format 2, cropped digits. The published labels are 1 to 10, where 10
stands for the digit 0; here every label is its digit. The 531,131 extra images are not used.

The test set is the published one; a tenth of each class of the training images is held out for
validation, always the same images. Images stay uint8 in memory; batches return them divided by 255.
"""

from __future__ import annotations

import numpy as np
import torch

from narrows.data._base import Dataset, Root, Splits, split_off
from narrows.data.fetch import Archive, Checksums, fetch
from narrows.data.matlab import parse_mat
from narrows.errors import DataError

__all__ = ["SVHN", "load_svhn"]

_SPLIT_SEED = 0

SVHN = Archive(
    "svhn",
    {
        "train_32x32.mat": Checksums(None, "e26dedcc434d2e4c54c9b2d4a06d8373"),
        "test_32x32.mat": Checksums(None, "eb5a983be6a315427106f1b164d9cef3"),
    },
    ("http://ufldl.stanford.edu/housenumbers/",),
)


def load_svhn(root: Root = None, *, validation_share: float = 0.1) -> Splits:
    """Load SVHN, `x: [n, 3, 32, 32]` uint8: 65,931 / 7,326 / 26,032 images by default.

    Args:
        root: folder that holds `train_32x32.mat` and `test_32x32.mat` or their subfolder `svhn/`;
            searched before `NARROWS_DATA` and the user's cache, into which they are downloaded
            otherwise.
        validation_share: share of the 73,257 that is held out for validation.

    Raises:
        DataError: if a file is damaged, or missing and cannot be downloaded.
    """
    learn, test = (_dataset(content, file) for file, content in fetch(SVHN, root).items())
    train, validation = split_off(learn, validation_share, _SPLIT_SEED)
    return Splits(train, validation, test)


def _dataset(content: bytes, file: str) -> Dataset:
    arrays = parse_mat(content, f"svhn/{file}")
    missing = [name for name in ("X", "y") if name not in arrays]
    if missing:
        raise DataError(f"svhn/{file}: holds no array {missing[0]}; it belongs to another data set")
    images, labels = arrays["X"], arrays["y"].ravel()
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise DataError(
            f"svhn/{file}: X must be uint8 [32, 32, 3, n], got {images.dtype} {list(images.shape)}"
        )
    if not np.isin(labels, range(1, 11)).all():
        raise DataError(f"svhn/{file}: labels must be 1 to 10, got {labels.min()}..{labels.max()}")
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(3, 2, 0, 1)))
    y = torch.from_numpy(labels.astype(np.int64) % 10)
    return Dataset("svhn", x, y, classes=10)
