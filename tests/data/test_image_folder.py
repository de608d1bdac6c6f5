import numpy as np
import pytest
import torch
from PIL import Image

from narrows.data import load
from narrows.errors import DataError


def write(path, mode="RGB", size=(6, 5), value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    Image.fromarray(np.full(shape, value, np.uint8), mode=None).convert(mode).save(path)


def photos(home, count=10, classes=("ant", "cat"), **options):
    for label, name in enumerate(classes):
        for i in range(count):
            write(home / name / f"{i}.png", value=100 * label + i, **options)


def test_class_folders_in_the_order_of_their_names(tmp_path):
    photos(tmp_path / "pets")
    write(tmp_path / "pets" / "cat" / "last.JPG", value=109)
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("none")
    (tmp_path / "pets" / ".cache").mkdir()
    made = load(str(tmp_path / "pets"))
    assert (made.train.name, made.train.shape, made.train.image) == ("pets", (3, 5, 6), True)
    assert made.train.class_names == ("ant", "cat")
    for part in made:
        assert torch.equal(part.x[:, 0, 0, 0] >= 100, part.y == 1)
    assert sum(map(len, made)) == 21


def test_grey_images_have_one_channel_unless_one_is_coloured(tmp_path):
    photos(tmp_path, mode="L")
    assert load(str(tmp_path)).train.shape == (1, 5, 6)
    write(tmp_path / "ant" / "colour.png")
    assert load(str(tmp_path)).train.shape == (3, 5, 6)


@pytest.mark.parametrize("validation", [None, "val", "valid", "validation"])
def test_parts_in_folders_are_taken(validation, tmp_path):
    photos(tmp_path / "train")
    photos(tmp_path / "test", count=3)
    if validation:
        photos(tmp_path / validation, count=2)
    sizes = [len(part) for part in load(str(tmp_path))]
    assert sizes == ([20, 4, 6] if validation else [16, 4, 6])


def broken(path, how):
    if how == "size":
        write(path, size=(7, 5))
    elif how == "sixteen bits":
        Image.fromarray(np.zeros((5, 6), np.uint16)).save(path)
    else:
        path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("size", r"1.png: is 7 x 5 pixels, and the first image is 6 x 5"),
        ("cut", r"1.png: damaged image"),
        ("sixteen bits", r"1.png: holds I;16 pixels"),
    ],
)
def test_a_bad_image_is_named(how, message, tmp_path):
    photos(tmp_path)
    broken(tmp_path / "cat" / "1.png", how)
    with pytest.raises(DataError, match=message):
        load(str(tmp_path))


def test_folders_that_hold_no_classes_are_refused(tmp_path):
    with pytest.raises(DataError, match="expected a folder for each class"):
        load(str(tmp_path))
    photos(tmp_path)
    (tmp_path / "emu").mkdir()
    with pytest.raises(DataError, match=r"emu: holds no images .* must hold those of one class"):
        load(str(tmp_path))


@pytest.mark.parametrize("suffix", ["bmp", "webp", "tif", "TIFF", "ppm"])
def test_other_formats_of_torchvision_are_read(suffix, tmp_path):
    photos(tmp_path)
    for path in tmp_path.rglob("*.png"):
        Image.open(path).save(path.with_suffix(f".{suffix}"), lossless=True)
        path.unlink()
    made = load(str(tmp_path))
    assert sum(map(len, made)) == 20
    assert torch.equal(made.train.x[:, 0, 0, 0] >= 100, made.train.y == 1)


def test_what_is_dropped_and_what_is_missing_is_noted(tmp_path):
    photos(tmp_path / "train", mode="RGBA")
    photos(tmp_path / "test", count=3, classes=("ant",))
    made = load(str(tmp_path))
    assert made.train.shape == (3, 5, 6)
    notes = made.train.notes
    assert "images of the mode RGBA are converted to RGB, without transparency" in notes
    assert "the test set has no sample of the class cat" in notes


def test_a_class_of_the_test_set_alone_is_refused(tmp_path):
    photos(tmp_path / "train")
    photos(tmp_path / "test", classes=("ant", "emu"))
    with pytest.raises(DataError, match="test has the class 'emu', and train has not"):
        load(str(tmp_path))
