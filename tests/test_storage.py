"""Files that are complete or absent, and that never run code."""

import errno
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save as serialise
from safetensors.torch import save_file

from narrows import storage
from narrows.errors import CheckpointError, ConfigError, StoreError
from narrows.storage import (
    check_regular,
    convert_header,
    json_finite,
    load_tensors,
    save_tensors,
    write_atomically,
)

TENSORS = {
    "matrix": torch.arange(6.0).view(2, 3),
    "transposed": torch.arange(6.0).view(2, 3).T,
    "scalar": torch.tensor(3),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "none": torch.zeros(0, 4, dtype=torch.float64),
    "mask": torch.tensor([True, False]),
}
HEADER = {"epoch": 3, "accuracy": [0.1, 1 / 3], "name": "grün"}


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "state.safetensors"
    save_tensors(path, TENSORS, HEADER)
    return path


def test_what_was_saved_comes_back_bit_by_bit(file):
    tensors, header = load_tensors(file)
    assert header == HEADER
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_tensors_that_share_memory_are_saved_apart(tmp_path):
    whole = torch.arange(6.0)
    save_tensors(tmp_path / "a", {"whole": whole, "view": whole[2:], "same": whole}, {})
    tensors, _ = load_tensors(tmp_path / "a")
    assert tensors["view"].tolist() == [2.0, 3.0, 4.0, 5.0]
    assert torch.equal(tensors["same"], whole)


def test_no_flipped_bit_goes_unnoticed(file):
    content = file.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError) as raised:
            load_tensors(file)
        assert str(raised.value).startswith(str(file))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"is not a complete safetensors file.*delete it to"):
        load_tensors(file)


class Malicious:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_pickle_is_refused_and_its_code_is_never_run(tmp_path):
    trap, file = tmp_path / "trap", tmp_path / "model.pt"
    torch.save({"weights": torch.ones(3), "evil": Malicious(trap)}, file)
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_tensors(file)
    assert not trap.exists()
    torch.load(file, weights_only=False)
    assert trap.exists()  # so the trap does work


def test_files_of_others_are_refused(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": torch.ones(2)}, foreign)
    with pytest.raises(CheckpointError, match="this library did not write it"):
        load_tensors(foreign)
    save_file({"w": torch.ones(2)}, foreign, metadata={"narrows": json.dumps(HEADER)})
    with pytest.raises(CheckpointError, match="is damaged: its contents have changed"):
        load_tensors(foreign)


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*nowhere"):
        load_tensors(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_tensors(tmp_path)


def resign(path: Path, text: str) -> Path:
    """The file again with another header, and a checksum that fits it."""
    tensors = load_tensors(path)[0]
    metadata = {"narrows": text, "sha256": storage._digest(tensors, text)}
    path.write_bytes(serialise(tensors, metadata=metadata))
    return path


@pytest.mark.parametrize("text", ["[1]", "null", '"text"', "3", "true", "NaN"])
def test_a_header_that_is_no_table_is_refused(file, text):
    with pytest.raises(CheckpointError, match=r"state.safetensors is not a checkpoint: its header"):
        load_tensors(resign(file, text))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, '{"a": ' + "1" * 5000 + "}"])
def test_a_header_that_is_no_json_is_refused(file, text):
    with pytest.raises(CheckpointError, match=r"state.safetensors has a header that is not JSON"):
        load_tensors(resign(file, text))


class Place(NamedTuple):
    epoch: int
    batch: int


@dataclass
class Fields:
    name: str
    numbers: list[float | None]
    places: list[tuple[int, Place]]
    more: dict[str, list[int]] = field(default_factory=dict)


WHOLE = {"name": "a", "numbers": [1, None, 0.5], "places": [[3, [1, 2]]]}


def test_the_fields_of_a_header_get_their_types():
    found = convert_header("file", WHOLE, Fields)
    assert found == Fields("a", [1.0, None, 0.5], [(3, Place(1, 2))])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, r"Expected `str`, got `null` - at `\$.name`"),
        ({"name": 3}, r"at `\$.name`"),
        ({"numbers": {}}, r"at `\$.numbers`"),
        ({"numbers": [1, "a"]}, r"at `\$.numbers\[\d\]`"),
        ({"numbers": [True]}, r"at `\$.numbers\[\d\]`"),
        ({"places": [[3]]}, r"at `\$.places\[0\]`"),
        ({"places": [[3, [1, "x"]]]}, r"at `\$.places"),
        ({"more": {"a": 1}}, r"at `\$.more\[...\]`"),
        ({"name": ...}, "missing required field `name`"),
    ],
)
def test_a_field_that_is_missing_or_of_another_type_is_named(change, message):
    header = {key: value for key, value in (WHOLE | change).items() if value is not ...}
    with pytest.raises(CheckpointError, match=rf"^file has a header with another.*{message}"):
        convert_header("file", header, Fields)


def test_the_text_of_a_path_is_a_path(tmp_path):
    save_tensors(str(tmp_path / "a"), TENSORS, HEADER)
    assert load_tensors(str(tmp_path / "a"))[1] == HEADER
    with pytest.raises(ConfigError, match="path must be a path, got int"):
        load_tensors(3)


def full_disk(*_args, **_keywords):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("broken", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
def test_a_full_disk_leaves_the_old_file_and_no_other(file, monkeypatch, broken):
    before = file.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(broken, full_disk)
        with pytest.raises(StoreError, match="No space left on device; what was there before is"):
            save_tensors(file, {"w": torch.zeros(9)}, {})
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_an_interrupted_write_leaves_nothing_behind(file, monkeypatch):
    before = file.read_bytes()

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, b"new")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder, reason in (
        (tmp_path / "file", "Not a directory"),
        (tmp_path / "missing", "No such file or directory"),
        (Path("/proc/1"), ""),  # read-only even for root
    ):
        with pytest.raises(StoreError, match=f"cannot write {folder}/a: {reason}"):
            write_atomically(folder / "a", b"content")


def test_a_written_file_is_complete_and_alone(tmp_path):
    write_atomically(tmp_path / "a", b"old")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_json_cannot_hold_becomes_null():
    value = {1: [math.nan, 0.5, (math.inf, 2)], "text": "nan", "nested": {"low": -math.inf}}
    plain = json_finite(value)
    assert plain == {"1": [None, 0.5, [None, 2]], "text": "nan", "nested": {"low": None}}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_a_pipe_and_a_device_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(OSError, match="Not a regular file"):
            check_regular(path)
    check_regular(tmp_path)
    check_regular(tmp_path / "nothing")
    check_regular(Path(__file__))
