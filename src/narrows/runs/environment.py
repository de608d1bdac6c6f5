"""What a number may depend on beside its configuration: versions, hardware, commit, command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from narrows.runs.files import read_json, write_json
from narrows.runs.progress import Progress

__all__ = [
    "Environment",
    "code_name",
    "current_environment",
    "other_code",
    "record_environment",
]

_FILE, _KIND = "environment.json", "environment"
_PACKAGE = Path(__file__).resolve().parents[1]
# These say how and when a command was called, and have no influence on its numbers.
_INCIDENTAL = frozenset({"command", "started", "resumed"})


@dataclass(frozen=True)
class Environment:
    """Where something was computed.

    Attributes:
        narrows: version of this package, likewise `torch`, `numpy` and `python`.
        platform: operating system.
        processor: its kind and the number of its cores.
        accelerator: name of the GPU; `None` on a CPU.
        threads: of PyTorch.
        git_commit: of the checkout that the package ran from; `None` for an installed package.
        command: as it was typed.
        started: time in UTC.
        resumed: where it was continued later, if that was somewhere else.
    """

    narrows: str | None = None
    torch: str | None = None
    numpy: str | None = None
    python: str | None = None
    platform: str | None = None
    processor: str | None = None
    accelerator: str | None = None
    threads: int | None = None
    git_commit: str | None = None
    command: str | None = None
    started: str | None = None
    resumed: list[Environment] = field(default_factory=list)


def current_environment(device: str) -> Environment:
    """Describe this process, computing on `device`."""
    return Environment(
        narrows=_version("narrows"),
        torch=str(torch.__version__),
        numpy=_version("numpy"),
        python=platform.python_version(),
        platform=platform.platform(),
        processor=f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        accelerator=torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        threads=torch.get_num_threads(),
        git_commit=_git_commit(_PACKAGE),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def record_environment(folder: Path, device: str, progress: Progress, *, finished: bool) -> None:
    """Write `environment.json`; where an unfinished folder is continued elsewhere, add to it.

    What another version or commit of narrows has begun is continued, with a note that names both:
    the same settings may have given other numbers there.

    Args:
        folder: of a run, an attack or an audit.
        device: that it is computed on.
        progress: where the note is shown.
        finished: whether everything in it was computed before.
    """
    path, now = folder / _FILE, current_environment(device)
    if not path.exists():
        write_json(path, _KIND, now)
        return
    if finished:
        return
    before = read_json(path, _KIND, Environment)
    if others := other_code(before, now):
        progress.note(
            f"{folder} was begun by narrows {others} and is continued by narrows {code_name(now)}; "
            "numbers may differ from those of one version"
        )
    names = {field.name for field in fields(Environment)} - _INCIDENTAL
    if any(getattr(before, name) != getattr(now, name) for name in names):
        write_json(path, _KIND, replace(before, resumed=[*before.resumed, now]))


def other_code(before: Environment, now: Environment) -> str:
    """Versions and commits that have written to a folder and are not those of this process.

    Args:
        before: what is stored in the folder.
        now: this process.

    Returns:
        Their names, or nothing: also where it is not known which code either is.
    """
    others = [
        part
        for part in (before, *before.resumed)
        if _differ(part.narrows, now.narrows) or _differ(part.git_commit, now.git_commit)
    ]
    return ", ".join(sorted({code_name(part) for part in others}))


def code_name(environment: Environment) -> str:
    """The version of narrows, with its commit where it ran from a checkout."""
    commit = environment.git_commit
    return f"{environment.narrows}{f' (commit {commit})' if commit else ''}"


def _differ(one: str | None, other: str | None) -> bool:
    return None not in (one, other) and one != other


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit(package: Path) -> str | None:
    """Commit of the checkout that a package runs from, if it is one.

    A package that is installed inside another repository, in a virtual environment there, say, is
    not part of that repository's commit.
    """
    tracked = _git(package, "ls-files", "--full-name", "--error-unmatch", "errors.py")
    if tracked != "src/narrows/errors.py":
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    # Set by a hook of some other repository, these variables would point to that one.
    misleading = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    clean = {name: value for name, value in os.environ.items() if name not in misleading}
    command = ["git", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True, env=clean
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
