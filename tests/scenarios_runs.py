"""Runs that are trained in a second or two, and the command line as a function."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from narrows.cli import main
from narrows.methods import VIB
from narrows.runs import Progress, ResolvedConfig, Run, carry_out, load_config

TINY: dict[str, Any] = {
    "methods": ["cross_entropy", "vib"],
    "betas": [0.01, 0.1, 1.0],
    "seeds": 2,
    "network": {"encoder": [8], "bottleneck": 2, "decoder": []},
    "train": {"epochs": 2, "learning_rate": 0.02},
    "evaluate": {"attack": False, "information_samples": 50},
}
ATTACKED: dict[str, Any] = {
    "eps": [0.05, 0.1, 0.5],
    "pgd_steps": 2,
    "pgd_restarts": 1,
    "attack_images": 20,
    "information_samples": 150,
}


def tiny_config(**changes: Any) -> ResolvedConfig:
    """The configuration of a tiny run, with some of its keys changed."""
    return load_config(values={**TINY, **changes})


def tiny_run(out: Path, progress: Progress | None = None, **changes: Any) -> Run:
    """Train a tiny run below `out`; `changes` are keys of its configuration."""
    return carry_out(tiny_config(**changes), out, progress or Progress())


def copied(run: Run, out: Path) -> Run:
    """A copy of a run, for a test that changes its folder."""
    return Run.open(shutil.copytree(run.path, out / run.path.name))


def narrows(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Call the command line: exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    output = capsys.readouterr()
    code = stop.value.code
    assert code is None or isinstance(code, int)
    return code or 0, output.out, output.err


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Call the command line with something wrong: the one line that it says."""
    code, out, err = narrows(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err


def lone_folder(out: Path) -> Path:
    """The only folder in a folder."""
    (folder,) = out.iterdir()
    return folder


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file in a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


class Notes(Progress):
    """Keeps what would be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class StoppedError(Exception):
    """Raised in the middle of something, as a killed process would stop there."""


def stop_after(calls: int) -> Iterator[None]:
    """`next` of it works so many times, then raises."""
    for _ in range(calls):
        yield
    raise StoppedError


def poison(monkeypatch: pytest.MonkeyPatch, when: Callable[[Tensor], Tensor]) -> None:
    """Make the loss of VIB infinite at the betas that `when` says."""
    original = VIB.regulariser

    def poisoned(self: VIB, output: Any, batch: Any) -> Any:
        terms = original(self, output, batch)
        factor = torch.where(when(self.beta), float("nan"), 1.0)
        return {name: term._replace(value=term.value * factor) for name, term in terms.items()}

    monkeypatch.setattr(VIB, "regulariser", poisoned)
