import dataclasses
import hashlib
import io
import zipfile

import numpy as np
import pooch
import pytest
import torch
from PIL import Image

from narrows.data import load_tiny_imagenet, tiny_imagenet
from narrows.data.fetch import Checksums
from narrows.errors import DataError

NAMES = ["n02", "n01", "n03"]
PER_CLASS, TESTED = 10, 6


def jpeg(colour, size=(64, 64), mode="RGB"):
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, "JPEG")
    return stream.getvalue()


def colour(label, number):
    return (60 * label + 20, 20 * number, 200)


def miniature():
    """Every file of a small data set in the published layout; images of one colour each."""
    files = {"wnids.txt": "\n".join(NAMES).encode(), "words.txt": b"not read"}
    for label, name in enumerate(NAMES):
        rows = [f"{name}_{n}.JPEG\t0\t0\t62\t62" for n in range(PER_CLASS)]
        files[f"train/{name}/{name}_boxes.txt"] = "\n".join(rows).encode()
        for n in range(PER_CLASS):
            files[f"train/{name}/images/{name}_{n}.JPEG"] = jpeg(colour(label, n))
    rows = [f"val_{n}.JPEG\t{NAMES[n % 3]}\t0\t0\t62\t62" for n in range(TESTED)]
    files["val/val_annotations.txt"] = "\n".join(rows).encode()
    for n in range(TESTED):
        files[f"val/images/val_{n}.JPEG"] = jpeg(colour(n % 3, n))
    files["val/images/val_5.JPEG"] = jpeg(77, mode="L")
    return files


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Write files, zipped or not, as if they were the published ones."""
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.delenv("NARROWS_DATA", raising=False)

    def write(files, form):
        if form == "folder":
            for name, content in files.items():
                path = tmp_path / "tiny-imagenet-200" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            return tmp_path
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in files.items():
                archive.writestr(f"tiny-imagenet-200/{name}", content)
        content = stream.getvalue()
        (tmp_path / "tiny-imagenet-200.zip").write_bytes(content)
        sums = {"tiny-imagenet-200.zip": Checksums(None, hashlib.md5(content).hexdigest())}
        known = dataclasses.replace(tiny_imagenet.TINY_IMAGENET, files=sums, mirrors=())
        monkeypatch.setattr(tiny_imagenet, "TINY_IMAGENET", known)
        return tmp_path

    return write


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_files_become_images_and_labels(publish, form):
    splits = load_tiny_imagenet(publish(miniature(), form), validation_share=0.2)
    assert [len(part) for part in splits] == [24, 6, TESTED]
    assert splits.test.shape == (3, 64, 64)
    assert splits.test.x.dtype == torch.uint8
    assert splits.test.classes == 3
    assert splits.test.y.tolist() == [0, 1, 2, 0, 1, 2]
    means = splits.test.x.double().mean((2, 3))
    wanted = torch.tensor([colour(n % 3, n) for n in range(5)] + [(77, 77, 77)]).double()
    torch.testing.assert_close(means, wanted, atol=3, rtol=0)
    reds = (splits.train.x[:, 0].double().mean((1, 2)) - 20) / 60
    assert reds.round().long().tolist() == splits.train.y.tolist()
    assert splits.validation.y.bincount().tolist() == [2, 2, 2]


def test_images_are_decoded_once(publish, tmp_path, monkeypatch):
    root = publish(miniature(), "folder")
    first = load_tiny_imagenet(root)
    monkeypatch.setattr(tiny_imagenet, "_decode", None)  # a second call would fail
    assert torch.equal(load_tiny_imagenet(root).train.x, first.train.x)
    (kept,) = (tmp_path / "cache" / "tiny-imagenet").iterdir()
    assert kept.name.startswith("decoded-")


def test_other_images_are_decoded_anew(publish, tmp_path):
    files = miniature()
    before = load_tiny_imagenet(publish(files, "folder")).test.x[0]
    noisy = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG")
    files["val/images/val_0.JPEG"] = stream.getvalue()
    after = load_tiny_imagenet(publish(files, "folder")).test.x[0]
    assert not torch.equal(before, after)
    assert len(list((tmp_path / "cache" / "tiny-imagenet").iterdir())) == 2


@pytest.mark.parametrize("form", ["zip", "folder"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("val/images/val_0.JPEG", b"no image", "val_0.JPEG: damaged image"),
        ("val/images/val_0.JPEG", jpeg((1, 2, 3))[:400], "val_0.JPEG: damaged image"),
        ("val/images/val_0.JPEG", jpeg(1, (64, 32), "L"), "expected 64x64, got 64x32 pixels"),
        ("val/val_annotations.txt", b"val_0.JPEG\tn09\t0", "cannot be read.*'n09' is not in list"),
        ("train/n01/n01_boxes.txt", b"n01_99.JPEG\t0", "cannot be read .*n01_99.JPEG.*unpack"),
    ],
)
def test_damaged_files_are_named_and_nothing_is_kept(
    publish, tmp_path, form, name, content, message
):
    root = publish({**miniature(), name: content}, form)
    with pytest.raises(DataError, match=message):
        load_tiny_imagenet(root)
    assert not (tmp_path / "cache" / "tiny-imagenet").exists()


def test_a_damaged_cache_is_named(publish, tmp_path):
    root = publish(miniature(), "folder")
    load_tiny_imagenet(root)
    (kept,) = (tmp_path / "cache" / "tiny-imagenet").iterdir()
    kept.write_bytes(kept.read_bytes()[:-10])
    with pytest.raises(DataError, match=rf"{kept.name}: damaged .*; delete it"):
        load_tiny_imagenet(root)


def test_a_cache_that_cannot_be_written_is_said(publish, tmp_path):
    (tmp_path / "cache").write_bytes(b"a file, where a folder should be")
    root = publish(miniature(), "folder")
    with pytest.raises(DataError, match="the decoded images cannot be written"):
        load_tiny_imagenet(root)


def test_missing_files_are_named(publish, tmp_path):
    publish(miniature(), "zip")
    (tmp_path / "tiny-imagenet-200.zip").unlink()
    with pytest.raises(DataError, match=r"not found: tiny-imagenet-200.zip.*or the folder tiny-"):
        load_tiny_imagenet(tmp_path)
