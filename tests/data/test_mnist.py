import dataclasses
import gzip
import hashlib
import os
import struct

import pooch
import pytest
import torch

from narrows.data import load, load_fashion_mnist, load_mnist, mnist
from narrows.data.fetch import Checksums
from narrows.errors import DataError

needs_files = pytest.mark.skipif(
    not os.environ.get("NARROWS_DATA"),
    reason="NARROWS_DATA is not set to a folder that holds mnist/ and fashion-mnist/",
)


def idx(tensor):
    head = struct.pack(f">BBBB{tensor.dim()}I", 0, 0, 8, tensor.dim(), *tensor.shape)
    return gzip.compress(head + bytes(tensor.flatten().tolist()), mtime=0)


def miniature():
    """Contents of four files in MNIST's layout, 50 images to learn from and 20 to test on."""
    generator = torch.Generator().manual_seed(0)
    contents = {}
    for part, n in (("train", 50), ("t10k", 20)):
        images = torch.randint(256, (n, 28, 28), generator=generator)
        contents[f"{part}-images-idx3-ubyte"] = images
        contents[f"{part}-labels-idx1-ubyte"] = torch.arange(n) % 10
    return contents


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Write tensors as if they were the published MNIST."""

    def write(contents):
        files = {name: idx(tensor) for name, tensor in contents.items()}
        for name, content in files.items():
            (tmp_path / f"{name}.gz").write_bytes(content)
        sums = {name: Checksums(hashlib.md5(c).hexdigest(), "") for name, c in files.items()}
        monkeypatch.setattr(mnist, "MNIST", dataclasses.replace(mnist.MNIST, files=sums))
        return tmp_path

    return write


def test_files_become_images_and_labels(publish):
    contents = miniature()
    splits = load_mnist(publish(contents))
    assert [len(part) for part in splits] == [40, 10, 20]
    assert splits.test.x.dtype == torch.uint8
    assert splits.test.shape == (1, 28, 28)
    assert torch.equal(splits.test.x[:, 0].long(), contents["t10k-images-idx3-ubyte"])
    assert torch.equal(splits.test.y, contents["t10k-labels-idx1-ubyte"])
    learnt = torch.cat([splits.train.x, splits.validation.x])[:, 0].flatten(1).long().tolist()
    assert sorted(learnt) == sorted(contents["train-images-idx3-ubyte"].flatten(1).tolist())


def test_validation_share_is_taken_from_every_class(publish):
    splits = load_mnist(publish(miniature()), validation_share=0.4)
    assert splits.validation.y.bincount().tolist() == [2] * 10


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c["train-labels-idx1-ubyte"].__setitem__(3, 10), r"0..9, got 0..10"),
        (
            lambda c: c.update({"t10k-labels-idx1-ubyte": torch.zeros(19, dtype=torch.int64)}),
            "20 inputs and 19 labels",
        ),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(publish, damage, message):
    contents = miniature()
    damage(contents)
    with pytest.raises(DataError, match=message):
        load_mnist(publish(contents))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_offline_without_files(tmp_path, monkeypatch, name):
    def offline(*arguments, **keywords):
        raise ConnectionError

    monkeypatch.setattr(pooch, "retrieve", offline)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.delenv("NARROWS_DATA", raising=False)
    with pytest.raises(DataError, match=f"{name}: 4 of 4 files.*set NARROWS_DATA.*{name}/"):
        load(name, tmp_path)


@needs_files
@pytest.mark.parametrize(
    ("loader", "mean", "std"), [(load_mnist, 0.1307, 0.3081), (load_fashion_mnist, 0.2860, 0.3530)]
)
def test_the_published_files(loader, mean, std):
    splits = loader()
    assert [len(part) for part in splits] == [48_000, 12_000, 10_000]
    assert splits.test.y.bincount().sum() == 10_000
    share = splits.validation.y.bincount() / (
        splits.train.y.bincount() + splits.validation.y.bincount()
    )
    torch.testing.assert_close(share, torch.full((10,), 0.2), atol=1e-3, rtol=0)
    # The mean and deviation of the 60,000 training images, as everybody's normalisation has them.
    x = torch.cat([splits.train.x, splits.validation.x]).double() / 255
    assert x.mean().item() == pytest.approx(mean, abs=1e-4)
    assert x.std().item() == pytest.approx(std, abs=1e-4)


@needs_files
def test_first_labels_of_the_published_test_sets():
    assert load_mnist().test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert load_fashion_mnist().test.y[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
