"""Images of Pillow as arrays of bytes, grey or RGB.

| mode of the image                 | becomes                              |
|-----------------------------------|--------------------------------------|
| `1`, `L`, `LA`                    | grey, one channel                    |
| `RGB`, `RGBA`, `P`, `CMYK`, ...   | RGB, three channels                  |
| `I`, `F` (16 or 32 bits a pixel)  | nothing: they are refused            |

Transparency is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from narrows.errors import DataError

__all__ = ["conversions", "is_grey", "is_picture", "pixels"]

_GREY = ("1", "L", "LA")


def is_picture(value: Any) -> bool:
    """Whether it is an image of Pillow."""
    return hasattr(value, "getbands") and hasattr(value, "convert")


def is_grey(image: Any) -> bool:
    """Whether an image of Pillow has no colours."""
    return image.mode in _GREY


def pixels(image: Any, grey: bool) -> np.ndarray[Any, Any]:
    """The bytes `[channels, height, width]` of an image of Pillow.

    Args:
        image: of any mode.
        grey: whether one channel is wanted, or three.

    Raises:
        DataError: for an image of more than 8 bits a pixel and channel.
    """
    if image.mode.startswith(("I", "F")):
        raise DataError(f"holds {image.mode} pixels; convert it to 8 bits first")
    array = np.asarray(image.convert("L" if grey else "RGB"))
    return array[np.newaxis] if grey else array.transpose(2, 0, 1)


def conversions(modes: Iterable[str], grey: bool) -> tuple[str, ...]:
    """What is done to images of these modes, as notes of a data set.

    >>> conversions({"RGB", "RGBA", "P"}, grey=False)
    ('images of the modes P, RGBA are converted to RGB, without transparency',)
    """
    others = sorted({*modes} - {"L" if grey else "RGB"})
    if not others:
        return ()
    kind = "images of the mode" + "s" * (len(others) > 1)
    verb = "are converted to grey" if grey else "are converted to RGB"
    dropped = any(mode in ("LA", "PA", "RGBA", "P") for mode in others)
    return (f"{kind} {', '.join(others)} {verb}" + ", without transparency" * dropped,)
