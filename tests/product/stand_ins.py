"""Small data sets of the shapes of the real ones, so that every name can be loaded in no time."""

import torch

from narrows.data import DATASETS, Dataset, Loader, Splits

# What an input looks like, how many classes there are, whether inputs are images, and whether the
# loader itself is quick: embedded or generated, no file.
#                   shape         classes  images  quick
SHAPES: dict[str, tuple[tuple[int, ...], int, bool, bool]] = {
    "digits":        ((1, 8, 8),        10, True,  True),
    "mnist":         ((1, 28, 28),      10, True,  False),
    "fashion-mnist": ((1, 28, 28),      10, True,  False),
    "cifar10":       ((3, 32, 32),      10, True,  False),
    "cifar100":      ((3, 32, 32),     100, True,  False),
    "svhn":          ((3, 32, 32),      10, True,  False),
    "tiny-imagenet": ((3, 64, 64),     200, True,  False),
    "twelve-bit":    ((12,),             2, False, True),
    "toy1":          ((2,),              2, False, True),
    "toy2":          ((101,),            2, False, True),
}  # fmt: skip
COUNT = 40  # in each of the three splits

OWN: dict[str, Loader] = dict(DATASETS)
"""The loaders of the product."""


def stand_in(name: str, count: int = COUNT) -> Loader:
    """A loader of noisy patterns, one a class, in the shape of that data set."""
    shape, classes, image, _ = SHAPES[name]

    def load(root: object = None) -> Splits:
        generator = torch.Generator().manual_seed(0)
        patterns = torch.rand(classes, *shape, generator=generator)
        parts = []
        for _ in Splits._fields:
            y = torch.arange(count) % classes
            noise = 0.1 * torch.randn(count, *shape, generator=generator)
            parts.append(Dataset(name, (patterns[y] + noise).clamp(0, 1), y, classes, image))
        return Splits(*parts)

    return load
