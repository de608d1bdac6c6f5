import numpy as np
import pytest

from narrows.errors import ConfigError, InputError
from narrows.information.samples import read_samples

TABLE = np.array([[0.5, 1.0], [2.0, -3.0], [4.0, 5e-3]])


def test_arrays_come_back_as_they_were_saved(tmp_path):
    np.save(tmp_path / "a.npy", TABLE)
    np.savez(tmp_path / "one.npz", TABLE)
    np.savez(tmp_path / "two.npz", x=TABLE, y=np.arange(3))
    for name in ("a.npy", "one.npz", "two.npz:x"):
        assert np.array_equal(read_samples(tmp_path / name), TABLE)
    labels = read_samples(str(tmp_path / "two.npz:y"))
    assert labels.tolist() == [0, 1, 2]
    assert labels.dtype.kind == "i"


def test_images_become_rows(tmp_path):
    np.save(tmp_path / "images.npy", np.arange(24).reshape(2, 3, 4))
    assert read_samples(tmp_path / "images.npy").shape == (2, 12)


@pytest.mark.parametrize("title", ["", "a,b\n", "\ufeffa,b\n"])
def test_a_table_is_read_with_or_without_titles(title, tmp_path):
    (tmp_path / "a.csv").write_text(f"{title}0.5,1\n2,-3\n\n4,5e-3\n", encoding="utf-8")
    assert np.array_equal(read_samples(tmp_path / "a.csv"), TABLE)


def test_whole_numbers_are_labels_unless_written_with_a_point(tmp_path):
    (tmp_path / "a.csv").write_text("label\n3\n-1\n+2\n")
    assert read_samples(tmp_path / "a.csv").dtype.kind == "i"
    assert read_samples(tmp_path / "a.csv").tolist() == [[3], [-1], [2]]
    (tmp_path / "a.csv").write_text("3.0\n-1\n2\n")
    assert read_samples(tmp_path / "a.csv").dtype.kind == "f"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"1,2", "expected a .npy, .npz or .csv file"),
        ("a", b"1,2", "expected a .npy, .npz or .csv file"),
        ("a.csv", b"", "no table of numbers"),
        ("a.csv", b"title\n", "no table of numbers"),
        ("a.csv", b"1,2\n3\n", "row 2 has 1 cells, the first has 2"),
        ("a.csv", b"1,2\n3,x\n", "could not convert string to float: 'x'"),
        ("a.csv", b"1\n" + b"9" * 40, "no table of numbers"),
        ("a.csv", b"\xff\xfe\x00", "no table of numbers"),
        ("a.npy", b"", "a.npy"),
        ("a.npy", b"\x93NUMPY", "a.npy"),
        ("a.npy", b"nothing of the kind", "a.npy"),
        ("a.npz", b"nothing of the kind", "a.npz"),
        ("a.npz", b"PK\x03\x04", "a.npz"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(name, content, reason, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_samples(tmp_path / name)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_objects_strings_and_single_numbers_are_refused(tmp_path):
    for array in (np.array(["a", "b"]), np.array(3.0), np.zeros((0, 2)), np.array([1j])):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(InputError, match="no table of numbers"):
            read_samples(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="no table of numbers"):
        read_samples(tmp_path / "a.npy")


def test_one_of_several_arrays_must_be_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=TABLE, y=np.arange(3))
    for name in ("a.npz", "a.npz:z"):
        with pytest.raises(InputError, match=r"it holds the arrays x, y; write .*a\.npz:NAME"):
            read_samples(tmp_path / name)


def test_missing_files_folders_and_what_is_no_path_are_refused(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    for name in ("nowhere.npy", "nowhere.npz:x", "nowhere.csv", "folder.npy"):
        with pytest.raises(InputError, match="cannot read"):
            read_samples(tmp_path / name)
    with pytest.raises(ConfigError, match="path"):
        read_samples("")
