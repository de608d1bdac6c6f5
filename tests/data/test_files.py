from pathlib import Path

import pytest

from narrows.data import _files
from narrows.data._files import as_folder, is_file, read_file
from narrows.errors import DataError


def test_the_home_of_a_user_is_spelt_out(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert as_folder("~/data", "root") == Path("/somewhere/data")


@pytest.mark.parametrize("folder", [5, "", "null\0character", "~nobodyx/data"])
def test_what_is_no_folder_is_named(folder):
    with pytest.raises(DataError, match="root is not a folder"):
        as_folder(folder, "root")


def test_content_is_read_up_to_the_largest_size(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert is_file(path)
    assert read_file(path) == b"12345"
    monkeypatch.setattr(_files, "LARGEST", 4)
    with pytest.raises(DataError, match=r"file: holds 5 bytes, and no file .* more than 4"):
        read_file(path)


def test_a_path_that_cannot_be_read_is_named_in_short(tmp_path):
    assert not is_file(tmp_path)
    with pytest.raises(DataError, match=r"absent: cannot be read \(No such file or directory\)"):
        read_file(tmp_path / "absent")
    with pytest.raises(DataError, match=r"\.\.\. \(5,001 characters\): cannot be searched"):
        is_file(Path("/" + "a" * 5000))
