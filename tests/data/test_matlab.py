import io

import numpy as np
import pytest

from narrows.data.matlab import parse_mat
from narrows.errors import DataError
from scenarios_matlab import array, element, file

ARRAYS = {
    "X": np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5),
    "y": np.array([[1.0], [2.5], [-3.0]]),
    "count": np.array([[7]], dtype=np.int16),
}


def elements():
    kinds = {"X": (9, 2), "y": (6, 9), "count": (10, 3)}
    return [array(n, ARRAYS[n], kind=k, number=number) for n, (k, number) in kinds.items()]


@pytest.mark.parametrize("deflated", [False, True])
def test_arrays_come_back(deflated):
    found = parse_mat(file(*elements(), deflated=deflated), "some.mat")
    assert found.keys() == ARRAYS.keys()
    for name, wanted in ARRAYS.items():
        assert np.array_equal(found[name], wanted)
        assert found[name].dtype == wanted.dtype


@pytest.mark.parametrize("deflated", [False, True])
def test_what_another_library_writes_is_read(deflated):
    scipy_io = pytest.importorskip("scipy.io")
    stream = io.BytesIO()
    scipy_io.savemat(stream, {**ARRAYS, "text": "hello", "c": 1j}, do_compression=deflated)
    found = parse_mat(stream.getvalue(), "some.mat")
    assert found.keys() == ARRAYS.keys()
    for name, wanted in ARRAYS.items():
        assert np.array_equal(found[name], wanted)


def test_text_and_complex_numbers_are_passed_over():
    text = array("text", np.array([[104]], dtype=np.uint16), kind=4, number=4)
    complex_ = array("c", np.array([[1.0]]), kind=6, number=9, flags=0x0800)
    assert parse_mat(file(text, complex_), "some.mat") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MATLAB file of level 5.*got nothing"),
        (file().replace(b"\x00\x01IM", b"\x01\x00MI"), "not a MATLAB file.*got 01 00 4d 49"),
        (file(*elements())[:-30], "damaged MATLAB file .an element of 56 bytes is cut short"),
        (file(*elements(), deflated=True)[:-5], "damaged MATLAB file"),
        (file(*elements()) + b"\0\0\0", "damaged MATLAB file"),
        (file(element(15, b"no zlib stream")), "damaged MATLAB file"),
        (file(element(14, b"")), "damaged MATLAB file"),
        (file(array("X", np.zeros((2, 2)), kind=6, number=8)), "damaged MATLAB file"),
    ],
)
def test_what_is_damaged_or_foreign_is_named(content, message):
    with pytest.raises(DataError, match=f"some.mat: {message}"):
        parse_mat(content, "some.mat")
