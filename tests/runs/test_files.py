import errno
import json
import math
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from narrows.experiments.store import Folder, environment, open_run, read_json

from narrows.errors import StoreError
from narrows.experiments import store

CONFIG = {"data": "digits", "device": "cpu", "betas": [0.1, 1 / 3]}

HOLD = """
import sys, time
from pathlib import Path
from narrows.experiments.store import open_run
with open_run(Path(sys.argv[1]), {"data": "digits"}):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_in_use_is_refused_until_its_process_is_gone(tmp_path):
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError) as raised, open_run(folder, {"data": "digits"}):
            pass
        message = f"{folder} is in use by another process; wait for it, or choose another --out"
        assert str(raised.value) == message
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    started = time.monotonic()
    with open_run(folder, {"data": "digits"}) as opened:
        assert opened.read("config.json") == {"data": "digits"}
    assert time.monotonic() - started < 5


def test_one_process_cannot_open_a_folder_twice_but_again_later(tmp_path):
    def open_briefly() -> None:
        with open_run(tmp_path, CONFIG):
            pass

    with open_run(tmp_path, CONFIG), pytest.raises(StoreError, match="in use"):
        open_briefly()
    open_briefly()


def test_the_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="inside"), open_run(tmp_path, CONFIG):
        raise ValueError("inside")
    with open_run(tmp_path, CONFIG):
        pass


def test_a_folder_of_another_run_is_refused_and_stays_what_it_was(tmp_path):
    with open_run(tmp_path, CONFIG):
        pass
    with pytest.raises(StoreError, match="holds another run"), open_run(tmp_path, {"data": "toy"}):
        pass
    assert read_json(tmp_path / "config.json") == CONFIG
    with open_run(tmp_path, {**CONFIG, "betas": (0.1, 1 / 3)}) as again:  # as JSON, the same
        assert again.path == tmp_path


def test_left_overs_of_a_killed_write_are_cleared_away(tmp_path):
    (tmp_path / "vib").mkdir()
    left = tmp_path / "vib" / ".checkpoint.safetensors.123.tmp"
    left.write_bytes(b"half")
    (tmp_path / "vib" / "notes.tmp").write_text("not ours")
    with open_run(tmp_path, CONFIG):
        assert not left.exists()
    assert (tmp_path / "vib" / "notes.tmp").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks"), NotImplementedError("flock")])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, error):
    def fail(self, timeout):
        raise error

    monkeypatch.setattr(store.FileLock, "acquire", fail)
    with pytest.raises(StoreError, match=f"cannot lock {tmp_path}: "), open_run(tmp_path, CONFIG):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/run")):
        with pytest.raises(StoreError, match=f"cannot create {path}: .*--out"):
            Folder(path)


def test_json_is_written_whole_and_read_back(tmp_path):
    folder = Folder(tmp_path).sub("vib")
    assert not folder.done
    folder.write("done.json", CONFIG)
    assert folder.done
    assert folder.read("done.json") == CONFIG
    folder.write_lines("history.jsonl", [{"epoch": 0}, {"epoch": 1}])
    lines = folder.file("history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"epoch": 0}, {"epoch": 1}]
    assert sorted(p.name for p in folder.path.iterdir()) == ["done.json", "history.jsonl"]


def test_numbers_that_json_does_not_know_are_never_written(tmp_path):
    folder = Folder(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        folder.write("results.json", {"accuracy": math.nan})
    with pytest.raises(ValueError, match="JSON"):
        folder.write_lines("history.jsonl", [{"loss": math.inf}])
    assert list(tmp_path.iterdir()) == []


def test_json_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"there is no .*a\.json; is .* the folder of a run"):
        read_json(tmp_path / "a.json")
    for content in (b"{", b"\xff"):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(StoreError, match=r"cannot read .*a\.json: "):
            read_json(tmp_path / "a.json")


def test_the_environment_says_what_a_number_may_depend_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/narrows", "run", "--out", "my runs"])
    with open_run(tmp_path, CONFIG) as folder:
        found = folder.read("environment.json")
    assert found["torch"] == torch.__version__
    assert found["python"] == platform.python_version()
    assert found["threads"] == torch.get_num_threads()
    assert found["command"] == "narrows run --out 'my runs'"
    assert found["accelerator"] is None
    assert "cores" in found["processor"]
    with open_run(tmp_path, CONFIG) as folder:
        assert folder.read("environment.json") == found


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def checkout(root: Path, inside: str) -> Path:
    """A repository of one commit, and a copy of the store's file somewhere inside of it."""
    file = root / inside / "store.py"
    file.parent.mkdir(parents=True)
    file.write_text("code\n")
    (root / "README").write_text("a repository\n")
    git(root, "init", "-q")
    git(root, "add", "README")
    git(root, "commit", "-q", "-m", "first")
    return file


def test_the_commit_is_that_of_the_checkout_the_package_runs_from(tmp_path):
    file = checkout(tmp_path, "src/narrows/experiments")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "second")
    git(tmp_path, "tag", "-a", "v1", "-m", "a tag")
    commit = git(tmp_path, "rev-parse", "--short=12", "HEAD")
    assert store._git_commit(file) == commit
    file.write_text("changed\n")
    assert store._git_commit(file) == f"{commit}-dirty"


@pytest.mark.parametrize(
    "inside", ["venv/lib/python3.12/site-packages/narrows/experiments", "src/narrows/experiments"]
)
def test_an_installed_copy_does_not_report_the_repository_around_it(tmp_path, inside):
    assert store._git_commit(checkout(tmp_path, inside)) is None


def test_a_copy_that_another_repository_tracks_is_not_its_commit(tmp_path):
    file = checkout(tmp_path, "vendor/narrows/experiments")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "vendored")
    assert store._git_commit(file) is None


def test_without_a_repository_or_without_git_there_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / "store.py").write_text("")
    assert store._git_commit(tmp_path / "store.py") is None
    monkeypatch.setenv("PATH", "")
    assert environment("cpu")["git_commit"] is None


def test_the_git_of_a_surrounding_hook_does_not_mislead(tmp_path, monkeypatch):
    inner = tmp_path / "inner"
    file = checkout(inner, "src/narrows/experiments")
    git(inner, "add", ".")
    git(inner, "commit", "-q", "-m", "second")
    expected = store._git_commit(file)
    checkout(tmp_path / "outer", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "outer" / ".git"))
    assert store._git_commit(file) == expected
    assert expected is not None


def test_going_on_elsewhere_is_recorded_and_reading_a_finished_run_is_not(tmp_path, monkeypatch):
    surroundings = {"torch": "1", "threads": 2, "command": "narrows run", "started": "then"}
    monkeypatch.setattr(store, "environment", lambda device: dict(surroundings))

    def reopen():
        with open_run(tmp_path / "run", {}) as folder:
            return folder.read("environment.json"), folder

    assert "resumed" not in reopen()[0]
    surroundings |= {"started": "later", "command": "narrows run --quiet"}
    assert "resumed" not in reopen()[0]
    surroundings["torch"] = "2"
    recorded, folder = reopen()
    assert (recorded["torch"], [now["torch"] for now in recorded["resumed"]]) == ("1", ["2"])
    folder.write("done.json", {})
    surroundings["torch"] = "3"
    assert len(reopen()[0]["resumed"]) == 1
