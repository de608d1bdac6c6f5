import os
from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.data import absolute_name, load, short_name
from narrows.data.own import is_own, load_own
from narrows.errors import ConfigError, DataError

X = np.random.default_rng(0).random((40, 3))
Y = np.arange(40) % 2


def npz(path: Path, **arrays) -> str:
    np.savez(path, **(arrays or {"x": X, "y": Y}))
    return str(path)


def script(path: Path, body: str) -> str:
    path.write_text(f"import numpy as np, torch\n\ndef make():\n    {body}\n")
    return f"{path}:make"


def test_an_npz_file_and_the_same_file_from_elsewhere(tmp_path, monkeypatch):
    made = load(npz(tmp_path / "mine.npz"))
    assert (made.train.name, [len(part) for part in made]) == ("mine", [26, 6, 8])
    monkeypatch.setenv("NARROWS_DATA", str(tmp_path))
    moved = load("/nowhere/mine.npz")
    assert torch.equal(moved.test.x, made.test.x)


def test_a_function(tmp_path):
    name = script(tmp_path / "it.py", "return np.arange(40.0)[:, None], np.arange(40) % 2")
    made = load(name)
    assert (made.train.name, made.train.image) == ("it-make", False)


def test_another_share_for_validation_is_split_again(tmp_path):
    made = load(npz(tmp_path / "mine.npz"), validation_share=0.5)
    assert [len(part) for part in made] == [16, 16, 8]


def test_a_folder_of_that_name_does_not_hide_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "photos"):
        (tmp_path / name).mkdir()
    assert not is_own("digits")
    assert is_own("./digits")
    assert is_own("photos")
    assert absolute_name("digits") == "digits"
    assert absolute_name("photos") == str(tmp_path / "photos")
    assert absolute_name("a/b.py:f") == str(tmp_path / "a/b.py:f")


@pytest.mark.parametrize(
    ("name", "short"),
    [("mnist", "mnist"), ("/a/b c.npz", "b-c"), ("a/b.py:f", "b-f"), ("a/b/", "b"), ("/", "data")],
)
def test_the_short_name_has_no_folder(name, short):
    assert short_name(name) == short


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": Y.astype(object)}, "'y' holds Python objects, which would have to be unpi"),
        ({"a": X, "b": Y}, "got a, b"),
        ({"x": np.where(X > 0.9, np.nan, X), "y": Y}, "NaN"),
        ({"x": X, "y": Y[:9]}, "as many labels as inputs"),
    ],
)
def test_an_npz_file_that_holds_something_else(arrays, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load(npz(tmp_path / "mine.npz", **arrays))


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x93NUMPY", b"PK\x03\x04"])
def test_a_file_that_is_no_npz(content, tmp_path):
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.npz: is no \.npz file|holds a single array"):
        load(str(tmp_path / "mine.npz"))


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("raise OSError('the disk')", ConfigError, r"it.py:make failed in line 4 with OSError"),
        ("return 5", DataError, "it-make: expected .* got int"),
        ("return [np.zeros(3)] * 2", DataError, r"inputs must be \[n, \.\.\.\]"),
    ],
)
def test_a_function_that_fails(body, error, message, tmp_path):
    with pytest.raises(error, match=message):
        load(script(tmp_path / "it.py", body))


def test_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("NARROWS_DATA", raising=False)
    with pytest.raises(DataError, match=r"there is no .*mine\.npz; put the data back"):
        load(str(tmp_path / "mine.npz"))
    monkeypatch.setenv("NARROWS_DATA", str(tmp_path))
    with pytest.raises(DataError, match="nor below the folder in NARROWS_DATA"):
        load(str(tmp_path / "mine.npz"))
    (tmp_path / "it.py").write_text("")
    with pytest.raises(DataError, match=r"name a function of the file, like .*it\.py:load"):
        load(str(tmp_path / "it.py"))
    with pytest.raises(ConfigError, match="has no function 'other'"):
        load_own(f"{tmp_path}/it.py:other")
    with pytest.raises(DataError, match="cannot be searched"):
        load(os.sep + "a" * 5000)
