import dataclasses
import hashlib

import numpy as np
import pooch
import pytest
import torch

from narrows.data import load_svhn, svhn
from narrows.data.fetch import Checksums
from narrows.errors import DataError
from scenarios_matlab import array, file


def content(images, labels):
    """A file as SVHN's: images `[n, 3, 32, 32]`, labels `[n]` of 1 to 10."""
    published = np.ascontiguousarray(images.numpy().transpose(2, 3, 1, 0))
    return file(
        array("X", published, kind=9, number=2),
        array("y", labels.numpy().astype(np.uint8)[:, None], kind=9, number=2),
        deflated=True,
    )


def miniature(n, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.arange(n) % 10 + 1


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Write files as if they were the published ones."""
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.delenv("NARROWS_DATA", raising=False)

    def write(train, test):
        files = {"train_32x32.mat": train, "test_32x32.mat": test}
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        sums = {n: Checksums(None, hashlib.md5(c).hexdigest()) for n, c in files.items()}
        monkeypatch.setattr(svhn, "SVHN", dataclasses.replace(svhn.SVHN, files=sums, mirrors=()))
        return tmp_path

    return write


def test_files_become_images_and_digits(publish):
    images, labels = miniature(20, 1)
    splits = load_svhn(publish(content(*miniature(100, 0)), content(images, labels)))
    assert [len(part) for part in splits] == [90, 10, 20]
    assert torch.equal(splits.test.x, images)
    assert splits.test.y.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    assert splits.validation.y.bincount().tolist() == [1] * 10


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            lambda x, y: content(x[:, :, :16], y),
            r"X must be uint8 \[32, 32, 3, n\], got uint8 \[16",
        ),
        (lambda x, y: content(x, y - 1), r"labels must be 1 to 10, got 0..9"),
        (lambda x, y: content(x, y[:-1]), "20 inputs and 19 labels"),
        (lambda x, y: file(array("y", y.numpy()[:, None], kind=6, number=12)), "no array X"),
        (lambda x, y: content(x, y)[:-40], "damaged MATLAB file"),
        (lambda x, y: b"PK", "not a MATLAB file"),
    ],
)
def test_contents_that_do_not_fit_are_named(publish, broken, message):
    root = publish(content(*miniature(100, 0)), broken(*miniature(20, 1)))
    with pytest.raises(DataError, match=message):
        load_svhn(root)


def test_a_damaged_file_is_named(publish):
    root = publish(content(*miniature(100, 0)), content(*miniature(20, 1)))
    with (root / "test_32x32.mat").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(DataError, match=r"test_32x32.mat: expected MD5"):
        load_svhn(root)


def test_missing_files_are_named_as_they_are_published(publish):
    root = publish(content(*miniature(100, 0)), content(*miniature(20, 1)))
    (root / "test_32x32.mat").unlink()
    with pytest.raises(DataError, match=r"svhn: 1 of 2 files not found: test_32x32.mat\."):
        load_svhn(root)
