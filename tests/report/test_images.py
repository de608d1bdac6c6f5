import base64
import io

import pytest
import torch
from PIL import Image

from narrows.report.images import data_uri


def decoded(uri: str) -> Image.Image:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3)])
def test_one_channel_is_grey_and_rounded_to_bytes(shape):
    values = torch.tensor([[0.0, 0.5, 1.0], [-1.0, 2.0, 0.2]])
    image = decoded(data_uri(values.reshape(shape)))
    assert (image.mode, image.size) == ("L", (3, 2))
    assert list(image.tobytes()) == [0, 128, 255, 0, 255, 51]


def test_three_channels_are_colours():
    colours = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.2]]).reshape(3, 1, 2)
    image = decoded(data_uri(colours))
    assert (image.mode, image.size) == ("RGB", (2, 1))
    assert list(image.tobytes()) == [255, 0, 0, 0, 255, 51]


@pytest.mark.parametrize(("channels", "mode"), [(2, "L"), (4, "RGB"), (13, "RGB")])
def test_of_other_numbers_of_channels_the_first_are_drawn(channels, mode):
    bands = torch.arange(channels).reshape(-1, 1, 1).expand(-1, 1, 2) / 255
    image = decoded(data_uri(bands))
    assert (image.mode, image.size) == (mode, (2, 1))
    assert list(image.tobytes()) == ([0, 0] if mode == "L" else [0, 1, 2] * 2)
