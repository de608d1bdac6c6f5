"""The folder of a run: what was asked, what it ran on, what came out. Written so nothing is lost.

    <out>/<data>-<hash>/
        config.json         every number of the run
        environment.json    versions, hardware, git commit
        <method>/           one training task
            checkpoint.safetensors   to go on from
            history.jsonl            one line an epoch
            models.safetensors       the chosen weights of every member
            results.json             what was measured on them
            pictures.safetensors     projections and attacked images for the report
            done.json                written last: the task is complete
            failed.json              why it is not, or which members have diverged
        summary.json        knees and the table
        report.html

Every write is complete or absent. One process at a time owns a folder, by a lock that the
operating system drops when the process dies, however it dies.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from narrows.errors import StoreError
from narrows.storage import write_atomically

__all__ = ["Folder", "environment", "open_run", "read_json"]


class Folder:
    """A folder of JSON files, each written atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot create {path}: {error.strerror}; choose a folder you can write with --out"
            ) from error

    def sub(self, name: str) -> Folder:
        """A folder inside this one."""
        return Folder(self.path / name)

    def file(self, name: str) -> Path:
        """Path of a file in this folder."""
        return self.path / name

    def write(self, name: str, content: Any) -> None:
        """Write `content` as JSON."""
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_atomically(self.file(name), text.encode())

    def write_lines(self, name: str, records: list[Mapping[str, Any]]) -> None:
        """Write one line of JSON a record."""
        text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
        write_atomically(self.file(name), text.encode())

    def read(self, name: str) -> Any:
        """Read a JSON file."""
        return read_json(self.file(name))

    @property
    def done(self) -> bool:
        """Whether the task that owns this folder is complete."""
        return self.file("done.json").exists()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StoreError: if it is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise StoreError(f"there is no {path}; is {path.parent} the folder of a run?") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error


@contextmanager
def open_run(path: Path, config: Mapping[str, Any]) -> Iterator[Folder]:
    """Own the folder of a run: create or reopen it, lock it, say what it is.

    Raises:
        StoreError: if another process has it, or if it holds a different run.
    """
    folder = Folder(path)
    lock = FileLock(folder.file(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"{path} is in use by another process; wait for it, or choose another --out"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise StoreError(
            f"cannot lock {path}: {error}; choose a folder on a file system that can with --out"
        ) from error
    try:
        plain = json.loads(json.dumps(config))
        if folder.file("config.json").exists() and not _agrees(folder.read("config.json"), plain):
            raise StoreError(f"{path} holds another run; choose another --out")
        folder.write("config.json", config)
        for left_over in path.rglob(".*.tmp"):  # of a process that was killed as it wrote
            with suppress(OSError):
                left_over.unlink()
        _record_environment(folder, config.get("device", "cpu"))
        yield folder
    finally:
        lock.release()


def _agrees(stored: Any, now: Any) -> bool:
    """Whether all that is stored is still so; keys that are new since don't count against it."""
    if isinstance(stored, dict) and isinstance(now, dict):
        return all(key in now and _agrees(value, now[key]) for key, value in stored.items())
    return stored == now


def _record_environment(folder: Folder, device: str) -> None:
    """Say what the run started on and, where it goes on elsewhere, on what."""
    now = environment(device)
    if not folder.file("environment.json").exists():
        folder.write("environment.json", now)
        return
    first = folder.read("environment.json")
    passing = {"command", "started", "resumed"}
    if not folder.done and any(first[key] != now[key] for key in first.keys() - passing):
        first.setdefault("resumed", []).append(now)
        folder.write("environment.json", first)


def environment(device: str) -> dict[str, Any]:
    """What a number may depend on beside the configuration."""
    cuda = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "narrows": _version("narrows"),
        "torch": torch.__version__,
        "numpy": _version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "accelerator": cuda,
        "threads": torch.get_num_threads(),
        "git_commit": _git_commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def _git_commit(file: Path = Path(__file__)) -> str | None:
    """Commit of the checkout that this package runs from, if it is one.

    A package that is installed inside another repository, in a virtual environment there, say, is
    not part of that repository's commit.
    """
    tracked = _git(file, "ls-files", "--full-name", "--error-unmatch", file.name)
    if tracked != "src/narrows/experiments/store.py":
        return None
    return _git(file, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _git(file: Path, *arguments: str) -> str | None:
    # Set inside a hook of some other repository, these would speak of that one.
    misleading = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    clean = {name: value for name, value in os.environ.items() if name not in misleading}
    command = ["git", "-C", str(file.resolve().parent), *arguments]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True, env=clean
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
