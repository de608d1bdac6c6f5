"""Images of a data set as pictures that stand inside the page."""

from __future__ import annotations

import base64
import io

from PIL import Image
from torch import Tensor

__all__ = ["data_uri"]


def data_uri(image: Tensor) -> str:
    """A PNG of one image `[channels, height, width]` or `[height, width]` in [0, 1], as data URI.

    Of more than three channels the first three are drawn, and of two the first.
    """
    pixels = (image.clamp(0, 1) * 255).round().byte()
    if pixels.dim() == 3:
        pixels = pixels[0] if pixels.shape[0] < 3 else pixels[:3].permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
