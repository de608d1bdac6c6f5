"""Anything that a user may type or that a file may hold: one line, or what was written."""

import json
import os
import shutil

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from narrows.cli import main
from narrows.data import load
from narrows.errors import CheckpointError, NarrowsError
from narrows.experiments.auditing import read_audit
from narrows.information import load_plane
from narrows.information.samples import read_samples
from narrows.runs import load_config
from narrows.storage import load_tensors, save_tensors
from narrows.stored.index import list_runs

few = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
keys = st.sampled_from(
    ["betas", "seeds", "train.epochs", "network.encoder", "options", "options.vib", "evaluate.eps"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def narrows(capsys, *words) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code or 0, capsys.readouterr().err


def refused(capsys, *words) -> None:
    code, err = narrows(capsys, *words)
    assert code == 2
    assert len(err.splitlines()) == 1 or "Error:" in err, err
    assert "Traceback" not in err


def test_no_reader_waits_for_a_pipe(tmp_path):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    readers = {
        "a.safetensors": load_tensors,
        "a.npy": read_samples,
        "a.csv": read_samples,
        "plane.json": load_plane,
        "run.toml": load_config,
        "config.json": load_config,
        "mine.npz": lambda path: load(str(path)),
        "mine.py": lambda path: load(f"{path}:it"),
        "photos/cat/1.png": lambda path: load(str(path.parent.parent)),
        "audit.json": lambda path: read_audit(path.parent),
    }
    for name, read in readers.items():
        os.mkfifo(tmp_path / name)
        with pytest.raises(NarrowsError) as raised:
            read(tmp_path / name)
        assert "\n" not in str(raised.value)
    os.mkfifo(tmp_path / ".index.json")
    assert list_runs(tmp_path) == []


@pytest.fixture
def blocked(tmp_path):
    """A folder that cannot be made, so that nothing is ever trained."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "out"


@few
@given(key=keys | st.text(max_size=12), value=json_values.map(json.dumps) | st.text(max_size=20))
@example(key="betas.0", value="0.5")
@example(key="options", value="[1]")
@example(key="seeds", value="9" * 5000)
@example(key="network.bottleneck", value=str(2**63))
@example(key="a" + ".a" * 500, value="1")
def test_overrides(key, value, blocked, capsys):
    refused(capsys, "train", "--out", blocked, "--method", "vib", "--set", f"{key}={value}")


@few
@given(content=st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
@example(content=b"[betas]\na = 1\n")
@example(content=b"betas = " + b"[" * 1000 + b"]" * 1000)
def test_configuration_files(content, blocked, tmp_path, capsys):
    (tmp_path / "run.toml").write_bytes(content)
    refused(capsys, "run", tmp_path / "run.toml", "--out", blocked)


@few
@given(content=json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
@example(content=b"[" * 100_000)
@example(content=b"{}")
@example(content=b"\xff")
def test_records_of_a_run(content, ground, tmp_path, capsys):
    (run,) = (path for path in (ground / "runs").iterdir() if path.is_dir())
    folder = tmp_path / "run"
    if not folder.exists():
        shutil.copytree(run, folder)
    (folder / "config.json").write_bytes(content)
    refused(capsys, "knee", folder)


@few
@given(
    header=st.dictionaries(st.text(max_size=5), json_values),
    flip=st.integers(0, 10**6),
    bit=st.integers(0, 7),
)
def test_headers_of_tensors(header, flip, bit, tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"x": torch.arange(3)}, header)
    tensors, read = load_tensors(path)
    assert read == json.loads(json.dumps(header))
    assert torch.equal(tensors["x"], torch.arange(3))
    content = bytearray(path.read_bytes())
    content[flip % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    try:
        tensors, again = load_tensors(path)
    except CheckpointError:
        return
    # A bit that says nothing, as in the white space after the header.
    assert again == read
    assert torch.equal(tensors["x"], torch.arange(3))
