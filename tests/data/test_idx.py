import gzip
import math
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narrows.data.idx import parse_idx, read_idx
from narrows.errors import DataError


def idx(shape, values, kind=8):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + bytes(values)


IMAGES = idx((2, 2, 3), range(12))
PACKED = gzip.compress(IMAGES, mtime=0)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans(), st.data())
def test_reads_what_was_written(shape, zipped, data):
    values = data.draw(st.binary(min_size=math.prod(shape), max_size=math.prod(shape)))
    content = idx(shape, values)
    read = parse_idx(gzip.compress(content) if zipped else content, "file")
    assert read.shape == torch.Size(shape)
    assert bytes(read.flatten().tolist()) == values


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_a_file_gzipped_or_plain_whatever_it_is_called(tmp_path, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(IMAGES))
    assert read_idx(path).tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(PACKED[:-9], "damaged gzip", id="cut-gzip"),
        pytest.param(PACKED[:12], "damaged gzip", id="gzip-header-only"),
        pytest.param(
            PACKED[:14] + b"\xff\xff" + PACKED[16:], "damaged gzip", id="gzip-damaged-within"
        ),
        pytest.param(IMAGES[:-1], "2 x 2 x 3 values, 12 bytes, but 11 follow", id="too-few-values"),
        pytest.param(IMAGES + b"\0", "12 bytes, but 13 follow", id="too-many-values"),
        pytest.param(
            idx((3, 2, 3), range(12)), "3 x 2 x 3 values, 18 bytes, but 12 follow", id="wrong-count"
        ),
        pytest.param(idx((2**32 - 1,) * 3, range(12)), "but 12 follow", id="absurd-count"),
        pytest.param(
            idx((2, 6), range(12), kind=0x0D),
            "expected it to start with 00 00 08.*got 00 00 0d 02",
            id="floats",
        ),
        pytest.param(idx((), ()), "got 00 00 08 00", id="no-axes"),
        pytest.param(b"\x89PNG\r\n", "not an idx file.*got 89 50 4e 47", id="png"),
        pytest.param(IMAGES[:10], "ends within its header of 16 bytes", id="cut-header"),
        pytest.param(b"\0\0", "got 00 00", id="cut-magic"),
        pytest.param(b"", "got nothing", id="empty"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "broken-idx3"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read_idx(path)
    assert str(raised.value).startswith(str(path))


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="absent: cannot be read"):
        read_idx(tmp_path / "absent")
