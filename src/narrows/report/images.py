"""Images of a data set as pictures that stand inside the page."""

from __future__ import annotations

import base64
import io

from PIL import Image
from torch import Tensor

__all__ = ["data_uri"]


def data_uri(image: Tensor) -> str:
    """A PNG of one image `[channels, height, width]` or `[height, width]` in [0, 1], as data URI.

    One channel is drawn in grey, three in colour, and of any other number the mean in grey.
    """
    if image.dim() == 3 and image.shape[0] not in (1, 3):
        image = image.float().mean(0)
    pixels = (image.clamp(0, 1) * 255).round().byte()
    if pixels.dim() == 3:
        pixels = pixels[0] if pixels.shape[0] == 1 else pixels.permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
