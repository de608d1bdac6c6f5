import numpy as np
import pytest
from PIL import Image

from narrows.data.pillow import conversions, is_grey, is_picture, pixels
from narrows.errors import DataError

COLOURS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


@pytest.mark.parametrize(
    ("mode", "grey"),
    [("1", True), ("L", True), ("LA", True), ("RGB", False), ("RGBA", False), ("CMYK", False)],
)
def test_what_an_image_becomes(mode, grey):
    image = Image.fromarray(COLOURS).convert(mode)
    assert (is_picture(image), is_grey(image)) == (True, grey)
    array = pixels(image, grey)
    assert (array.shape, array.dtype) == ((1 if grey else 3, 4, 5), np.uint8)
    if not grey:
        assert np.array_equal(array, COLOURS.transpose(2, 0, 1))


def test_grey_images_among_coloured_ones_get_three_equal_channels():
    array = pixels(Image.fromarray(COLOURS[..., 0]), grey=False)
    assert np.array_equal(array, np.stack([COLOURS[..., 0]] * 3))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_eight_bits_are_refused(dtype):
    with pytest.raises(DataError, match="pixels; convert it to 8 bits first"):
        pixels(Image.fromarray(np.zeros((4, 5), dtype)), grey=True)


@pytest.mark.parametrize(
    ("modes", "grey", "notes"),
    [
        ({"L"}, True, ()),
        ({"RGB"}, False, ()),
        ({"1", "L"}, True, ("images of the mode 1 are converted to grey",)),
        ({"L", "RGB"}, False, ("images of the mode L are converted to RGB",)),
        ({"LA"}, True, ("images of the mode LA are converted to grey, without transparency",)),
    ],
)
def test_conversions_are_noted(modes, grey, notes):
    assert conversions(modes, grey) == notes


def test_an_array_is_no_picture():
    assert not is_picture(COLOURS)
