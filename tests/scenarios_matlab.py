"""Small files in MATLAB's format of level 5, written from its description."""

import struct
import zlib


def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def small(kind, data):
    """An element of up to four bytes, in the place of its own size."""
    return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")


def array(name, values, *, kind, number, flags=0):
    parts = [
        element(6, struct.pack("<II", kind | flags, 0)),
        element(5, struct.pack(f"<{values.ndim}i", *values.shape)),
        (small if len(name) <= 4 else element)(1, name.encode()),
        (small if values.nbytes <= 4 else element)(number, values.tobytes(order="F")),
    ]
    return element(14, b"".join(parts))


def file(*elements, deflated=False):
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    if deflated:
        packed = [zlib.compress(one) for one in elements]
        elements = [struct.pack("<II", 15, len(one)) + one for one in packed]
    return head + b"".join(elements)
