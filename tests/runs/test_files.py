"""JSON that is whole when it is there, named where it is damaged, and one writer at a time."""

import errno
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from narrows.errors import StoreError
from narrows.runs import files
from narrows.runs.files import (
    locked_folder,
    make_folder,
    read_json,
    read_lines,
    write_json,
    write_lines,
)

HOLD = """
import sys, time
from pathlib import Path
from narrows.runs.files import locked_folder
with locked_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@dataclass(frozen=True)
class Inner:
    name: str
    share: float | None = None


@dataclass(frozen=True)
class Content:
    count: int
    parts: list[Inner]
    scores: dict[str, float] = field(default_factory=dict)


CONTENT = Content(3, [Inner("a", 1 / 3), Inner("b")], {"x": 0.1})
KIND = "list of parts"


@pytest.fixture
def path(tmp_path):
    write_json(tmp_path / "a.json", KIND, CONTENT)
    return tmp_path / "a.json"


def sealed(content, **envelope) -> str:
    """A file with a valid checksum of whatever content."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    sha256 = hashlib.sha256(canonical.encode()).hexdigest()
    return json.dumps({"format": 2, "kind": KIND, "sha256": sha256, "content": content} | envelope)


def message_of(path: Path, kind: str = KIND, content: type = Content) -> str:
    """The one line that is said of a file that cannot be read."""
    with pytest.raises(StoreError) as raised:
        read_json(path, kind, content)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_what_is_written_is_read_back(path):
    assert read_json(path, KIND, Content) == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]
    write_json(path, KIND, replace(CONTENT, count=4))
    assert read_json(path, KIND, Content).count == 4
    write_json(path, KIND, [1, {"a": None}])
    assert read_json(path, KIND, list) == [1, {"a": None}]


def test_the_layout_of_a_file_may_change_and_its_values_may_not(path):
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(plain, indent=8, sort_keys=True))
    assert read_json(path, KIND, Content) == CONTENT
    plain["content"]["count"] = 5
    path.write_text(json.dumps(plain))
    assert "a.json is damaged: its contents have changed since they were written" in message_of(
        path
    )


@pytest.mark.parametrize("bit", range(8))
def test_any_flipped_bit_is_noticed(path, bit):
    original = path.read_bytes()
    # Between values a space may become a tab, say, which changes nothing.
    for at in range(original.index(b'"sha256"'), len(original)):
        if not original[at : at + 1].isspace():
            flipped = bytearray(original)
            flipped[at] ^= 1 << bit
            path.write_bytes(flipped)
            message_of(path)


VALID = {"count": 3, "parts": [{"name": "a"}], "scores": {}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"parts": []}, "is not a valid list of parts: Object missing required field `count`"),
        (VALID | {"count": "3"}, "Expected `int`, got `str` - at `$.count`"),
        (VALID | {"count": 3.5}, "Expected `int`, got `float` - at `$.count`"),
        (VALID | {"count": None}, "Expected `int`, got `null` - at `$.count`"),
        (VALID | {"parts": {}}, "Expected `array`, got `object` - at `$.parts`"),
        (VALID | {"parts": [{}]}, "missing required field `name` - at `$.parts[0]`"),
        (VALID | {"parts": [{"name": 1}]}, "Expected `str`, got `int` - at `$.parts[0].name`"),
        (VALID | {"scores": {"x": "1"}}, "Expected `float`, got `str` - at `$.scores"),
        (VALID | {"scores": {"x": 10**400}}, "is not a valid list of parts"),
        (VALID | {"scores": {"x": math.nan}}, "holds NaN or infinity, which JSON does not have"),
        (VALID | {"scores": {"x": math.inf}}, "holds NaN or infinity"),
        ([], "Expected `object`, got `array`"),
        (None, "Expected `object`, got `null`"),
        ("text", "Expected `object`, got `str`"),
    ],
)
def test_a_field_of_another_type_is_named(path, content, message):
    path.write_text(sealed(content))
    assert message in message_of(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON, expected a list of parts"),
        (b"{", "is not JSON"),
        (b'{"format": 2, "kind": "x", "sha256": "", "content": {', "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"\x00" * 100, "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a":' * 100_000, "is not JSON"),
        (b'{"sha256": "", "format": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"[1]", "it has no checksum"),
        (b"3", "it has no checksum"),
        (b'{"count": 3}', "scripts/convert_runs.py"),
        (b'{"sha256": ""}', "missing required field"),
        (b'{"sha256": 3, "format": 2, "kind": "a", "content": 1}', "Expected `str`, got `int`"),
    ],
)
def test_what_is_no_such_file_is_named(path, content, message):
    path.write_bytes(content)
    assert message in message_of(path)


@pytest.mark.parametrize("depth", [50, 500, 5000, 50_000])
def test_nesting_without_end_is_one_line(path, depth):
    nested = "[" * depth + "]" * depth
    canonical = f'{{"count":3,"parts":{nested}}}'
    sha256 = hashlib.sha256(canonical.encode()).hexdigest()
    envelope = f'{{"format": 2, "kind": "{KIND}", "sha256": "{sha256}", "content": {canonical}}}'
    path.write_text(envelope)
    message_of(path)


def test_a_file_of_another_kind_or_of_a_newer_version_is_named(path):
    assert message_of(path, "configuration").endswith(
        "a.json is a list of parts, expected a configuration"
    )
    path.write_text(sealed(VALID, format=3))
    assert "written by a newer version of narrows (layout 3, this version knows 2)" in message_of(
        path
    )
    path.write_text(sealed(VALID, format="2"))
    assert "Expected `int`, got `str` - at `$.format`" in message_of(path)


def test_keys_of_a_newer_version_are_ignored_and_older_files_take_defaults(path):
    path.write_text(sealed(VALID | {"added": [1]}, more=2))
    assert read_json(path, KIND, Content) == Content(3, [Inner("a")])
    path.write_text(sealed({"count": 1, "parts": []}))
    assert read_json(path, KIND, Content) == Content(1, [])


def test_a_file_that_cannot_be_opened_is_named(path, tmp_path, monkeypatch):
    assert "there is no" in message_of(tmp_path / "b.json")
    assert "there is no" in message_of(path / "c.json")
    assert "is not a regular file" in message_of(tmp_path)
    monkeypatch.setattr(files, "_LARGEST_FILE", 10)
    assert "is larger than 1 GiB, expected a list of parts" in message_of(path)


def test_numbers_that_json_does_not_know_are_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", KIND, {"accuracy": math.nan})
    with pytest.raises(ValueError, match="JSON"):
        write_lines(tmp_path / "a.jsonl", [{"loss": math.inf}])
    assert list(tmp_path.iterdir()) == []


def test_lines_are_read_back(tmp_path):
    path, records = tmp_path / "a.jsonl", [Inner("a", 0.1), Inner("b\nc")]
    write_lines(path, records)
    assert read_lines(path, KIND, Inner) == records
    assert path.read_text().count("\n") == 2
    write_lines(path, [])
    assert read_lines(path, KIND, Inner) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2, is not JSON"),
        ("[1]", "line 2, is not a valid list of parts: Expected `object`, got `array`"),
        ("", "line 2, is not JSON"),
        ('{"name": "b"}', "line 2, is damaged: it has changed since it was written"),
        ('{"name": "b", "crc32": 3}', "line 2, is damaged"),
        ('{"name": "b", "crc32": NaN}', "line 2, is damaged"),
        ('{"name": NaN, "crc32": "00000000"}', "line 2, holds NaN or infinity"),
        ('{"a": ' * 100_000, "line 2, is not JSON"),
    ],
)
def test_a_damaged_line_is_named_by_its_number(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    write_lines(path, [Inner("a"), Inner("b"), Inner("c")])
    first, _, last = path.read_text().splitlines()
    path.write_text("\n".join([first, line, last]))
    with pytest.raises(StoreError) as raised:
        read_lines(path, KIND, Inner)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_line_of_another_type_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    write_lines(path, [{"name": "a"}, {"name": 3}])
    with pytest.raises(StoreError, match=r"line 2, is not a valid list of parts: Expected `str`"):
        read_lines(path, KIND, Inner)
    write_lines(path, [{"name": "a", "added": 3}])
    assert read_lines(path, KIND, Inner) == [Inner("a")]


def test_a_changed_digit_in_a_line_is_noticed(tmp_path):
    path = tmp_path / "a.jsonl"
    write_lines(path, [Inner("a", 0.25)])
    path.write_text(path.read_text().replace("0.25", "0.26"))
    with pytest.raises(StoreError, match="line 1, is damaged"):
        read_lines(path, KIND, Inner)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/run")):
        with pytest.raises(StoreError, match=f"cannot create {path}: .*--out"):
            make_folder(path)
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"


def test_a_folder_in_use_is_refused_until_its_process_is_gone(tmp_path):
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError) as raised, locked_folder(folder):
            pass
        message = f"{folder} is in use by another process; wait for it, or choose another --out"
        assert str(raised.value) == message
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    started = time.monotonic()
    with locked_folder(folder) as opened:
        assert opened == folder
    assert time.monotonic() - started < 5


def test_one_process_cannot_lock_a_folder_twice_but_again_later(tmp_path):
    def lock_briefly() -> None:
        with locked_folder(tmp_path):
            pass

    with locked_folder(tmp_path), pytest.raises(StoreError, match="in use"):
        lock_briefly()
    lock_briefly()


def test_the_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="inside"), locked_folder(tmp_path):
        raise ValueError("inside")
    with locked_folder(tmp_path):
        pass


def test_left_overs_of_a_killed_write_are_cleared_away(tmp_path):
    (tmp_path / "vib").mkdir()
    left_over = tmp_path / "vib" / ".checkpoint.safetensors.123.tmp"
    left_over.write_bytes(b"half")
    (tmp_path / "vib" / "notes.tmp").write_text("not ours")
    with locked_folder(tmp_path):
        assert not left_over.exists()
    assert (tmp_path / "vib" / "notes.tmp").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks"), NotImplementedError("flock")])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, error):
    def fail(self, timeout):
        raise error

    monkeypatch.setattr(files.FileLock, "acquire", fail)
    with pytest.raises(StoreError, match=f"cannot lock {tmp_path}: "), locked_folder(tmp_path):
        pass


def test_text_that_is_not_unicode_is_named(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, "thing", "\ud800")
    with pytest.raises(StoreError, match=r"a\.json is not a valid thing"):
        read_json(path, "thing", Content)
