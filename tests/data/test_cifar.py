import dataclasses
import hashlib
import io
import os
import tarfile
from functools import cache
from pathlib import Path

import pooch
import pytest
import torch

from narrows.data import cifar, load, load_cifar10, load_cifar100
from narrows.data.cifar import CIFAR10, CIFAR100, parse_cifar
from narrows.data.fetch import Checksums, members
from narrows.errors import DataError

DATA = Path(os.environ.get("NARROWS_DATA", ""), "cifar-10-batches-bin")


def records(n, classes, labels, seed):
    """Labels `[n]`, images `[n, 3, 32, 32]` and the bytes of both in the published layout."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    y = torch.arange(n) % classes
    content = b"".join(
        bytes([*[label // 5] * (labels - 1), label]) + image.numpy().tobytes()
        for label, image in zip(y.tolist(), images, strict=True)
    )
    return y, images, content


@cache
def files_of(names, classes, labels):
    """What each file of the data set holds: twenty images of each class to learn from in all."""
    sizes = [20 * classes // (len(names) - 1)] * (len(names) - 1) + [classes]
    parts = [records(n, classes, labels, seed) for seed, n in enumerate(sizes)]
    return dict(zip(names, parts, strict=True))


def tar(contents):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in contents.items():
            member = tarfile.TarInfo(f"folder/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def sums(contents):
    return {name: Checksums(None, hashlib.md5(c).hexdigest()) for name, c in contents.items()}


SETS = {
    "CIFAR10": (load_cifar10, CIFAR10, 10, 1),
    "CIFAR100": (load_cifar100, CIFAR100, 100, 2),
}


@pytest.fixture(params=SETS)
def small(request, tmp_path, monkeypatch):
    """A small data set believed to be the published one, in memory, and how to write it."""
    loader, published, classes, labels = SETS[request.param]
    parts = files_of(tuple(published[0].files), classes, labels)
    contents = {name: content for name, (_, _, content) in parts.items()}
    (archive,) = published[1].files
    packed = {archive: tar(contents)}
    known = tuple(
        dataclasses.replace(part, files=sums(c), mirrors=())
        for part, c in zip(published, (contents, packed), strict=True)
    )
    monkeypatch.setattr(cifar, request.param, known)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.delenv("NARROWS_DATA", raising=False)
    return loader, parts, contents, packed, known


def write(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("form", ["packed", "unpacked", "unpacked in its folder"])
def test_files_become_images_and_labels(small, tmp_path, form):
    loader, parts, contents, packed, known = small
    folder = tmp_path / known[0].name if form.endswith("folder") else tmp_path
    write(folder, packed if form == "packed" else contents)
    splits = loader(tmp_path)
    *learn, (y, images, _) = parts.values()
    assert torch.equal(splits.test.x, images)
    assert torch.equal(splits.test.y, y)
    assert splits.test.classes == len(y)
    assert splits.train.y.bincount().tolist() == [18] * len(y)
    assert splits.validation.y.bincount().tolist() == [2] * len(y)
    both = splits.train + splits.validation
    found = {x.numpy().tobytes(): label for x, label in zip(both.x, both.y.tolist(), strict=True)}
    for labels, images, _ in learn:
        for label, image in zip(labels[:20].tolist(), images[:20], strict=True):
            assert found[image.numpy().tobytes()] == label


@pytest.mark.parametrize("by", ["root", "NARROWS_DATA", "cache"])
@pytest.mark.parametrize("layout", ["{within}/{folder}", "{folder}", "{within}", "", "archive"])
def test_the_files_are_found_in_every_folder_that_the_page_names(
    small, tmp_path, monkeypatch, layout, by
):
    loader, parts, contents, packed, known = small
    within = known[1].name
    root = tmp_path / ("cache" if by == "cache" else "data")
    if layout == "archive":
        write(root / within, packed)
    elif by == "cache" and not layout.startswith("{within}"):
        pytest.skip("the cache is ours alone")
    else:
        write(root / layout.format(within=within, folder=known[0].name), contents)
    if by == "NARROWS_DATA":
        monkeypatch.setenv("NARROWS_DATA", str(root))
    splits = loader(root if by == "root" else None)
    assert torch.equal(splits.test.x, list(parts.values())[-1][1])


def test_links_and_foreign_files_in_an_archive_are_passed_over():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, target in (("a.bin", "nowhere"), ("b.bin", "/etc/passwd"), ("c.bin", "../c")):
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                link = tarfile.TarInfo(f"folder/{name}")
                link.type, link.linkname = kind, target
                archive.addfile(link)
        member = tarfile.TarInfo("folder/d.bin")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"data"))
    assert members(stream.getvalue(), "x.tar.gz", ["d.bin"]) == {"d.bin": b"data"}
    for name in ("a.bin", "b.bin", "c.bin"):
        with pytest.raises(DataError, match=f"x.tar.gz: holds no {name}"):
            members(stream.getvalue(), "x.tar.gz", [name])


@pytest.mark.parametrize("damage", ["cut", "foreign", "longer"])
def test_damaged_files_are_named(small, tmp_path, damage):
    loader, _, contents, packed, _ = small
    change = {
        "cut": lambda c: c[:-1],
        "foreign": lambda c: b"x" * len(c),
        "longer": lambda c: c * 2,
    }
    for form in (contents, packed):
        folder = tmp_path / str(len(form))
        name = list(form)[-1]
        write(folder, {**form, name: change[damage](form[name])})
        with pytest.raises(DataError, match=rf"{name}: expected MD5 .*; the file is damaged"):
            loader(folder)


def test_missing_files_are_asked_for_by_the_name_of_the_archive(small, tmp_path):
    loader, _, contents, packed, known = small
    *some, _ = contents
    write(tmp_path, {name: contents[name] for name in some})
    message = rf"1 of 1 files not found: {next(iter(packed))}.* or the folder {known[0].name} that"
    with pytest.raises(DataError, match=message):
        loader(tmp_path)


@pytest.mark.parametrize("size", [0, 3072, 3074, 2 * 3073 + 1])
def test_contents_that_are_no_records_are_refused(size):
    with pytest.raises(DataError, match=rf"batch: expected a multiple of 3,073 .* got {size:,}"):
        parse_cifar(bytes(size), "batch")


def test_labels_out_of_range_are_refused(small, tmp_path, monkeypatch):
    loader, _, contents, _, known = small
    last = list(contents)[-1]
    broken = {**contents, last: b"\xff" * (len(contents[last]) // 10)}
    size = len(broken[last]) - len(broken[last]) % (3073 if "10-" in known[0].name else 3074)
    broken[last] = broken[last][:size]
    name = "CIFAR10" if "cifar-10-" in known[0].name else "CIFAR100"
    pair = (dataclasses.replace(known[0], files=sums(broken)), known[1])
    monkeypatch.setattr(cifar, name, pair)
    write(tmp_path, broken)
    with pytest.raises(DataError, match="labels must lie in 0"):
        loader(tmp_path)


@pytest.mark.skipif(not DATA.is_dir(), reason="NARROWS_DATA holds no cifar-10-batches-bin/")
def test_the_published_files():
    splits = load("cifar10")
    assert [len(part) for part in splits] == [45_000, 5_000, 10_000]
    assert splits.test.y[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert splits.train.y.bincount().tolist() == [4500] * 10
    # Mean and deviation of the 50,000 training images, as everybody's normalisation has them.
    x = torch.cat([splits.train.x, splits.validation.x]).transpose(0, 1).flatten(1)
    wanted = ((0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616))
    for channel, (mean, std) in zip(x, wanted, strict=True):
        values = channel.double() / 255
        assert values.mean().item() == pytest.approx(mean, abs=1e-4)
        assert values.std().item() == pytest.approx(std, abs=1e-4)
