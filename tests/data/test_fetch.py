import errno
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pooch
import pytest
from requests.exceptions import ConnectionError as Unreachable

from narrows.data import load
from narrows.data.fetch import Archive, Checksums, fetch, find, members
from narrows.data.idx import read_idx
from narrows.errors import DataError

PLAIN = {"images": b"some images", "labels": b"and labels"}
PACKED = {name: gzip.compress(content, mtime=0) for name, content in PLAIN.items()}


def md5(content):
    return hashlib.md5(content).hexdigest()


ARCHIVE = Archive(
    "small",
    {name: Checksums(md5(PACKED[name]), md5(PLAIN[name])) for name in PLAIN},
    ("https://first.test/", "https://second.test/"),
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no folder in the environment, and no network."""
    monkeypatch.delenv("NARROWS_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setattr(pooch, "retrieve", offline)
    return tmp_path / "cache" / "narrows" / "small"


def offline(url, **keywords):
    raise Unreachable(f"no route to {url}")


def write(folder, contents, suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}{suffix}").write_bytes(content)


@pytest.mark.parametrize("subfolder", ["", "small"])
@pytest.mark.parametrize("given", ["argument", "environment"])
@pytest.mark.parametrize(
    ("suffix", "contents"), [(".gz", PACKED), ("", PLAIN)], ids=["gzipped", "unpacked"]
)
def test_finds_files_in_a_given_folder(tmp_path, monkeypatch, subfolder, given, suffix, contents):
    write(tmp_path / "mine" / subfolder, contents, suffix)
    root = str(tmp_path / "mine")
    if given == "environment":
        monkeypatch.setenv("NARROWS_DATA", root)
    assert fetch(ARCHIVE, root if given == "argument" else None) == contents


def test_the_argument_comes_before_the_environment_and_that_before_the_cache(
    tmp_path, monkeypatch, cache
):
    argument, environment = tmp_path / "argument", tmp_path / "environment"
    monkeypatch.setenv("NARROWS_DATA", str(environment))
    write(cache, PLAIN, "")
    assert fetch(ARCHIVE, argument) == PLAIN
    write(environment, PACKED)
    assert fetch(ARCHIVE, argument) == PACKED
    write(argument, PLAIN, "")
    assert fetch(ARCHIVE, argument) == PLAIN


@pytest.mark.parametrize(
    "content", [PACKED["images"][:-3], PACKED["labels"], b""], ids=["cut", "foreign", "empty"]
)
def test_a_damaged_file_is_named_and_not_replaced(tmp_path, content):
    write(tmp_path, PACKED)
    write(tmp_path, {"images": content})
    with pytest.raises(DataError, match=f"got {md5(content)}; the file is damaged") as raised:
        fetch(ARCHIVE, tmp_path)
    assert str(raised.value).startswith(str(tmp_path / "images.gz"))
    assert (tmp_path / "images.gz").read_bytes() == content


def test_offline_the_error_says_what_is_missing_where_it_was_sought_and_what_to_do(
    tmp_path, monkeypatch, cache
):
    write(tmp_path / "mine", {"images": PACKED["images"]})
    monkeypatch.setenv("NARROWS_DATA", str(tmp_path / "theirs"))
    with pytest.raises(DataError) as raised:
        fetch(ARCHIVE, tmp_path / "mine")
    message = str(raised.value)
    assert message.startswith("small: 1 of 2 files not found: labels.gz.")
    for folder in (tmp_path / "mine", tmp_path / "theirs"):
        assert f"{folder / 'small'}, {folder}, " in message
    assert f"{cache}." in message
    assert "https://second.test/ (ConnectionError)" in message
    assert "set NARROWS_DATA to the folder that holds small/" in message


def test_a_second_mirror_serves_what_the_first_does_not(monkeypatch, cache):
    asked = []

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append(url)
        name = fname.removesuffix(".gz")
        assert known_hash == f"md5:{md5(PACKED[name])}"
        assert progressbar
        if url.startswith("https://first.test/images"):
            raise ValueError("checksum of the download does not match")
        write(path, {name: PACKED[name]})

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert fetch(ARCHIVE) == PACKED
    assert asked == [
        "https://first.test/images.gz",
        "https://second.test/images.gz",
        "https://first.test/labels.gz",
    ]
    assert fetch(ARCHIVE) == PACKED
    assert len(asked) == 3


def test_a_download_that_breaks_off_names_what_is_still_missing(monkeypatch, cache):
    def retrieve(url, known_hash, fname, path, progressbar):
        if "labels" in url:
            raise ValueError("checksum of the download does not match")
        write(path, {"images": PACKED["images"]})

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(DataError, match=r"1 of 2 files not found: labels.gz.*wrong checksum"):
        fetch(ARCHIVE)


def test_a_file_that_is_published_as_it_is(tmp_path, monkeypatch, cache):
    plain = Archive("small", {"data.mat": Checksums(None, md5(b"data"))}, ("https://first.test/",))
    write(tmp_path, {"data.mat": gzip.compress(b"data")}, ".gz")  # not looked for
    assert find(plain, tmp_path) == {}

    def retrieve(url, known_hash, fname, path, progressbar):
        assert (url, fname) == ("https://first.test/data.mat", "data.mat")
        assert known_hash == f"md5:{md5(b'data')}"
        write(path, {fname: b"data"}, "")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert fetch(plain, tmp_path) == find(plain, tmp_path) == {"data.mat": b"data"}


def tar(contents):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_members_are_read_wherever_they_are_in_the_archive():
    content = tar({"a/images": b"1", "../labels": b"2", "other": b"3"})
    assert members(content, "x.tar.gz", ["labels", "images"]) == {"labels": b"2", "images": b"1"}
    with pytest.raises(DataError, match=r"x.tar.gz: holds no names; it belongs to another"):
        members(content, "x.tar.gz", ["images", "names"])


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", tar({"images": bytes(9999)})[:-30]],
    ids=["empty", "other", "truncated"],
)
def test_a_damaged_archive_is_named(content):
    with pytest.raises(DataError, match=r"x.tar.gz: damaged tar archive"):
        members(content, "x.tar.gz", ["images"])


HOSTILE = {
    "no such user": ("~nobodyx", r"NARROWS_DATA is not a folder: .*home directory"),
    "too long a name": ("/" + "a" * 5000, r"cannot be searched \(File name too long\)"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn", "tiny-imagenet"])
def test_a_folder_that_cannot_be_one_is_answered_in_one_short_line(name, kind, monkeypatch):
    value, message = HOSTILE[kind]
    monkeypatch.setenv("NARROWS_DATA", value)
    with pytest.raises(DataError, match=message) as raised:
        load(name)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("root", [5, b"bytes", "null\0character"])
def test_a_root_that_is_no_path_is_refused(root):
    with pytest.raises(DataError, match="root is not a folder"):
        fetch(ARCHIVE, root)


def test_a_file_larger_than_any_that_is_published_is_not_read(tmp_path):
    with (tmp_path / "images").open("wb") as file:
        file.truncate(8 * 2**30)  # sparse: it takes no space on the disk
    with pytest.raises(DataError, match=r"images: holds 8,589,934,592 bytes, and no file of a"):
        fetch(ARCHIVE, tmp_path)
    with pytest.raises(DataError, match="holds 8,589,934,592 bytes"):
        read_idx(tmp_path / "images")


@pytest.mark.parametrize("call", ["is_file", "read_bytes"])
def test_a_folder_that_may_not_be_looked_into_is_named(tmp_path, monkeypatch, call):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    write(tmp_path, PACKED)
    monkeypatch.setattr(Path, call, refuse)
    with pytest.raises(DataError, match=r"images.gz: cannot be .* \(Permission denied\)"):
        fetch(ARCHIVE, tmp_path)


def test_a_dangling_link_is_a_file_that_is_not_there(tmp_path):
    (tmp_path / "images").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="2 of 2 files not found"):
        fetch(ARCHIVE, tmp_path)
