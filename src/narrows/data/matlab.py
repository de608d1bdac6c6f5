"""Reader of numeric arrays in MATLAB's file format of level 5, in which SVHN is published.

    128 bytes of header, then elements: type, size, content; type 15 holds one compressed element

Source: The MathWorks, "MAT-File Format", level 5. An array is an element (type 14) of four others:
flags, sizes, name, and values column by column. The reader takes real numeric arrays in
little-endian files, all that SVHN needs. It never executes anything, and a damaged file is an
error; `scipy.io.loadmat` ends the process on some damaged files (segmentation fault in scipy 1.17).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from narrows.errors import DataError

__all__ = ["parse_mat"]

_HEADER = 128
_ARRAY, _DEFLATED = 14, 15
_COMPLEX = 0x0800
_NUMERIC = range(6, 16)
_TYPES = {
    **{1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4"},
    **{7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"},
}


def parse_mat(content: bytes, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Every real numeric array of a file, by name; errors name the file `name`.

    Raises:
        DataError: if the content is truncated, or no little-endian file of level 5.
    """
    if content[124:128] != b"\x00\x01IM":
        raise DataError(
            f"{name}: not a MATLAB file of level 5 in little-endian order: expected bytes 124 to "
            f"127 to be 00 01 49 4d, got {content[124:128].hex(' ') or 'nothing'}"
        )
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    try:
        for kind, body in _elements(memoryview(content)[_HEADER:]):
            if kind == _DEFLATED:
                ((kind, body),) = _elements(memoryview(zlib.decompress(body)))
            if kind == _ARRAY:
                arrays |= _array(body)
    except (ValueError, KeyError, struct.error, zlib.error) as error:
        raise DataError(f"{name}: damaged MATLAB file ({error}); fetch it again") from error
    return arrays


def _elements(data: memoryview) -> list[tuple[int, memoryview]]:
    """Type and content of each element of `data`."""
    elements, at = [], 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        start = at + 8
        if kind >> 16:  # a short element: its size and up to four bytes share the eight
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        if start + size > len(data):
            raise ValueError(f"an element of {size} bytes is cut short")
        elements.append((kind, data[start : start + size]))
        # All but compressed elements are padded to eight bytes.
        at = start + size if kind == _DEFLATED else -(-(start + size) // 8) * 8
    return elements


def _array(body: memoryview) -> dict[str, np.ndarray[Any, Any]]:
    """The array by its name; empty for text, structures and complex arrays."""
    (_, flags), (_, sizes), (_, name), *values = _elements(body)
    (flag,) = struct.unpack_from("<I", flags)
    if flag & 0xFF not in _NUMERIC or flag & _COMPLEX:
        return {}
    ((kind, data),) = values
    shape = np.frombuffer(sizes, "<i4")
    return {
        bytes(name).decode("ascii"): np.frombuffer(data, _TYPES[kind]).reshape(shape, order="F")
    }
