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


@pytest.mark.parametrize("channels", [2, 4])
def test_other_numbers_of_channels_are_drawn_as_their_mean(channels):
    values = torch.linspace(0, 1, channels)[:, None, None].expand(channels, 2, 3)
    image = decoded(data_uri(values))
    assert (image.mode, image.size) == ("L", (3, 2))
    assert list(image.tobytes()) == [128] * 6
