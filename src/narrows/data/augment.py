"""Random crops and flips of a whole batch at once, on the device where it is.

    x'[c, i, j] = pad(x)[c, i + dy, j' + dx],   j' = j or W - 1 - j,   dy, dx ~ U{0, ..., 2 padding}

Source: the augmentation of CIFAR-10 in Lee, Xie, Gallagher, Zhang & Tu (2015), arXiv 1409.5185,
used by He et al. (2016), arXiv 1512.03385, section 4.2, and common practice since.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.errors import InputError

__all__ = ["crop_and_flip"]


def crop_and_flip(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Pad each image with zeros, crop it at a random offset, and mirror it with probability 1/2.

    Offsets and flips are drawn on the generator's device, so that a generator on the CPU gives the
    same results on every device.

    Args:
        images: `[batch, channels, height, width]`, of any dtype.
        generator: source of offsets and flips.
        padding: zeros on each side; 0 for flips only.

    Returns:
        New images of the same shape, dtype and device.

    Raises:
        InputError: for images of another shape, or a negative padding.

    Example:
        >>> crop_and_flip(torch.rand(5, 3, 32, 32), torch.Generator().manual_seed(0)).shape
        torch.Size([5, 3, 32, 32])
    """
    if images.dim() != 4 or padding < 0:
        raise InputError(
            "expected images [batch, channels, height, width] and a padding of at least 0, "
            f"got {list(images.shape)} and {padding}"
        )
    batch, channels, height, width = images.shape
    places = (2, batch, 1)
    offsets = torch.randint(2 * padding + 1, places, generator=generator, device=generator.device)
    flips = torch.randint(2, places[1:], generator=generator, device=generator.device)
    (top, left), flip = offsets.to(images.device), flips.to(images.device)
    rows = torch.arange(height, device=images.device) + top
    columns = torch.arange(width, device=images.device)
    columns = torch.where(flip.bool(), width - 1 - columns, columns) + left
    taken = (rows.unsqueeze(2) * (width + 2 * padding) + columns.unsqueeze(1)).flatten(1)
    padded = F.pad(images, [padding] * 4).flatten(2)
    taken = taken.unsqueeze(1).expand(-1, channels, -1)
    return padded.gather(2, taken).view(images.shape)
