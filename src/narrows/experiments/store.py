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
            failed.json              why it is not, where training went wrong
        summary.json        knees and the table
        report.html

Every write is complete or absent. One process at a time owns a folder, by a lock that the
operating system drops when the process dies, however it dies.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from narrows.errors import StoreError
from narrows.training.checkpoint import write_atomically

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
        text = "".join(json.dumps(record) + "\n" for record in records)
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
    except OSError as error:
        raise StoreError(f"cannot lock {path}: {error.strerror}") from error
    try:
        if folder.file("config.json").exists() and folder.read("config.json") != config:
            raise StoreError(f"{path} holds another run; choose another --out")
        folder.write("config.json", config)
        if not folder.file("environment.json").exists():
            folder.write("environment.json", environment(config.get("device", "cpu")))
        yield folder
    finally:
        lock.release()


def environment(device: str) -> dict[str, Any]:
    """What a number may depend on beside the configuration."""
    cuda = torch.cuda.get_device_name() if device.startswith("cuda") else None
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
        "command": " ".join(Path(sys.argv[0]).name.split() + sys.argv[1:]),
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


def _git_commit() -> str | None:
    """Commit of the checkout that this package runs from, if it is one."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
