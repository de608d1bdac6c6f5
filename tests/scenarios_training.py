"""Small learnable problems for tests of training."""

import torch

from narrows.data import Dataset


def prototypes(inputs: int = 20, classes: int = 4, n: int = 96, seed: int = 0) -> Dataset:
    """Noisy images around one random prototype a class, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(classes, inputs, generator=generator)
    y = torch.arange(n) % classes
    noise = 0.1 * torch.randn(n, inputs, generator=generator)
    return Dataset("prototypes", (centres[y] + noise).clamp(0, 1), y, classes)
