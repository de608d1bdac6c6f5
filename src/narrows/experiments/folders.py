"""Folders of attacks and audits: named by what was requested, and refused for anything else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from narrows.errors import StoreError
from narrows.runs import Progress
from narrows.runs.environment import record_environment
from narrows.runs.files import locked_folder, read_json, write_json
from narrows.runs.identity import identity_of

__all__ = ["request_folder"]

_KIND = "request"


@contextmanager
def request_folder(
    request: Any, out: Path | None, default: str, device: str, finished: str, progress: Progress
) -> Iterator[Path]:
    """Be the only process that writes to the folder of a request while the block runs.

    Args:
        request: a dataclass of everything that the result depends on.
        out: the folder; `None` for one below `default`, named by the hash of the request.
        default: folder that holds the results of all requests of the kind, and their prefix.
        device: where it is computed.
        finished: name of the file that is written last.
        progress: where a note is shown if another version of narrows has begun the folder.

    Raises:
        StoreError: if another process has the folder, or if it holds another request.
    """
    path = out if out is not None else Path(f"{default}-{identity_of(request)}")
    with locked_folder(path) as folder:
        file = folder / "request.json"
        if not file.exists():
            write_json(file, _KIND, request)
        elif read_json(file, _KIND, type(request)) != request:
            raise StoreError(f"{folder} holds the result of another request; choose another --out")
        record_environment(folder, device, progress, finished=(folder / finished).exists())
        yield folder
