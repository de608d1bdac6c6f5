"""Handwritten digits: 1,797 real 8x8 images in ten classes, embedded in the package.

Each 32x32 bitmap of a digit was divided into 4x4 blocks. A pixel is the number of black points of a
block, 0 to 16, divided by 16.

Source: E. Alpaydin & C. Kaynak (1998), "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49, licensed under CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). `digits.npz` holds the 1,797 images of that set's
test part, which scikit-learn's `load_digits` returns too, as unsigned bytes and otherwise
unchanged. The split into three parts is this library's; the same writers occur in all of them.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch

from narrows.data._base import Dataset, Root, Splits, split_off

__all__ = ["load_digits"]

_SPLIT_SEED = 0


def load_digits(root: Root = None) -> Splits:
    """Load the digits, `x: [n, 1, 8, 8]` float32 in [0, 1]: 60 % / 20 % / 20 % of each class.

    Args:
        root: not used, since the data are part of the package; every loader takes it.

    Example:
        >>> load_digits().test.shape
        (1, 8, 8)
    """
    resource = files("narrows.data").joinpath("digits.npz")
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        x = torch.from_numpy(arrays["images"]).unsqueeze(1).to(torch.float32) / 16
        y = torch.from_numpy(arrays["labels"]).to(torch.int64)
    rest, test = split_off(Dataset("digits", x, y, classes=10), 0.2, _SPLIT_SEED)
    train, validation = split_off(rest, 0.25, _SPLIT_SEED)
    return Splits(train, validation, test)
