"""Reader of the idx format, in which MNIST and its successors are published.

    0x00 0x00 0x08 d | d big-endian uint32 sizes | the values, one unsigned byte each

Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits" (1998), which defines the
format. Only unsigned bytes (0x08) are read: no image set uses another type of value.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from narrows.data._files import LARGEST, as_folder, read_file
from narrows.errors import DataError

__all__ = ["parse_idx", "read_idx"]

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def read_idx(path: str | Path) -> Tensor:
    """Read an idx file, gzipped or plain.

    Returns:
        The uint8 tensor of the shape that the file's header gives.

    Raises:
        DataError: naming the file, if it cannot be read, is truncated or is not idx.
    """
    return parse_idx(read_file(as_folder(path, "path")), str(path))


def parse_idx(content: bytes, name: str) -> Tensor:
    """Decode the content of an idx file, gzipped or plain; errors name it `name`.

    Raises:
        DataError: if the content is truncated, has a foreign header, or more or fewer values than
            its header says.
    """
    if content.startswith(_GZIP_MAGIC):
        content = _unpack(content, name)
    shape, start = _header(content, name)
    expected, got = math.prod(shape), len(content) - start
    if got != expected:
        sizes = " x ".join(map(str, shape))
        raise DataError(
            f"{name}: its header announces {sizes} values, {expected} bytes, but {got} follow; "
            "the file is damaged, fetch it again"
        )
    # A copy, because a tensor must not share the memory of immutable bytes.
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return values[start:].reshape(shape)


def _unpack(content: bytes, name: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(LARGEST + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{name}: damaged gzip file ({error}); fetch it again") from error
    if len(unpacked) > LARGEST:
        raise DataError(f"{name}: unpacks to more than {LARGEST:,} bytes, which no data set holds")
    return unpacked


def _header(content: bytes, name: str) -> tuple[tuple[int, ...], int]:
    """Shape, and the byte at which the values start."""
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != _UNSIGNED_BYTE or magic[3] == 0:
        raise DataError(
            f"{name}: not an idx file of unsigned bytes: expected it to start with 00 00 08 and "
            f"a number of axes, got {magic.hex(' ') or 'nothing'}"
        )
    start = 4 + 4 * magic[3]
    if len(content) < start:
        raise DataError(f"{name}: ends within its header of {start} bytes; fetch it again")
    return struct.unpack(f">{magic[3]}I", content[4:start]), start
