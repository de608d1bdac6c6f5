"""How the product is driven and read: the command in this process, and the folder it leaves.

Tests of the product go through here only. Whatever changes in a run's folder changes here once.
"""

import io
import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from narrows import Member, MemberRecord, Run
from narrows.cli import main
from narrows.methods import METHODS, Method
from narrows.runs import building

# What makes any run small; a case adds its network, method and data.
TINY = [
    "--quiet", "--epochs", "1", "--seeds", "2", "--betas", "0.1", "--eps", "0.1",
    "--set", "train.batch_size=20", "--set", "evaluate.pgd_steps=2",
    "--set", "evaluate.pgd_restarts=1", "--set", "evaluate.attack_images=20",
    "--set", "evaluate.information_samples=40", "--set", "evaluate.samples=2",
]  # fmt: skip


class Said(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


def narrows(*words: object) -> Said:
    """Run `narrows` with these words. A traceback is none of its answers: it fails the test."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    texts = (stream.buffer.getvalue().decode() for stream in (out, err))
    return Said(int(stop.value.code or 0), *texts)


def succeed(*words: object) -> str:
    """Run a command that must succeed without a word on standard error; return what it printed."""
    said = narrows(*words)
    assert (said.code, said.err) == (0, ""), said.err
    return said.out


def refused(*words: object) -> str:
    """Run a command that must be refused: exit code 2, one line that says why, nothing else."""
    said = narrows(*words)
    assert said.code == 2, said.out
    assert said.err.count("\n") == 1, said.err
    assert said.out == ""
    return said.err


def run(out: Path, *words: object) -> Path:
    """Do `narrows run --out OUT`, which must succeed, and return the folder that it names."""
    *_, last = succeed("run", "--out", out, *words).splitlines()
    return Path(last.removeprefix("Report: ")).parent


def settings(text: str) -> list[str]:
    """`a=1 b=2` as `--set a=1 --set b=2`."""
    return [word for pair in text.split() for word in ("--set", pair)]


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text())


def records(folder: Path, method: str) -> list[MemberRecord]:
    """What was measured on the models of one method."""
    return Run.open(folder).records([method])


def losses(folder: Path, method: str) -> torch.Tensor:
    """Total loss of every epoch and member, `[epochs, members]`; NaN where it diverged."""
    rows = [record.losses["loss"] for record in Run.open(folder).history(method)]
    return torch.tensor([[math.nan if loss is None else loss for loss in row] for row in rows])


def ledger(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ledger: the worst attempts that fooled (`hit.x`) and that did not."""
    return load_file(folder / "ledger.safetensors")


def methods_of(folder: Path) -> list[str]:
    """The methods of a run."""
    return Run.open(folder).config.methods


def check_measured(folder: Path, method: str, members: int, *, attacked: bool) -> None:
    """Every member has been measured, with finite numbers, and can be had again as a module."""
    measured = records(folder, method)
    assert len(measured) == members
    run = Run.open(folder)
    for record in measured:
        for share in vars(record.accuracy).values():
            assert 0 <= share <= 1
        assert (record.attacks is not None) == attacked
        for attack in record.attacks or []:
            assert attack.accuracy is None or 0 <= attack.accuracy <= 1
        model = run.model(record.member)
        assert isinstance(model, torch.nn.Module)
        assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    assert (folder / "report.html").stat().st_size > 10_000


def same_numbers(one: Path, other: Path) -> None:
    """Two folders hold the same run to the last bit: losses, measurements, summary, weights."""
    assert methods_of(one) == methods_of(other)
    for name in methods_of(one):
        assert records(one, name) == records(other, name)
        assert torch.equal(losses(one, name), losses(other, name))
        for record in records(one, name):
            left, right = (_weights(folder, record.member) for folder in (one, other))
            assert left.keys() == right.keys()
            assert all(torch.equal(left[key], right[key]) for key in left)
    assert read(one / "summary.json") == read(other / "summary.json")


def _weights(folder: Path, member: Member) -> dict[str, torch.Tensor]:
    return Run.open(folder).model(member).state_dict()


class Steps:
    """Counts the passes that methods make through their models, and breaks off at one of them."""

    def __init__(self, break_at: int = 0) -> None:
        self.count, self.paused, self._break_at = 0, False, break_at

    def step(self) -> None:
        """Another pass."""
        if self.paused:
            return
        self.count += 1
        if self.count == self._break_at:
            raise KeyboardInterrupt


@contextmanager
def watched(break_at: int = 0) -> Iterator[Steps]:
    """Count `observe` of every method in training, not in the trial before it.

    Args:
        break_at: the pass at which Ctrl-C is pressed; 0 for none.
    """
    steps = Steps(break_at)
    with pytest.MonkeyPatch.context() as patch:
        trial = building._compute_terms

        def uncounted(*arguments: Any) -> None:
            steps.paused = True
            try:
                trial(*arguments)
            finally:
                steps.paused = False

        patch.setattr(building, "_compute_terms", uncounted)
        for base in {base for kind in METHODS.values() for base in kind.__mro__}:
            if issubclass(base, Method) and "observe" in vars(base):
                patch.setattr(base, "observe", _counting(base.observe, steps))
        yield steps


def _counting(observe: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
    def counted(self: Method, model: torch.nn.Module, batch: Any) -> Any:
        if batch.x.device.type != "meta":
            steps.step()
        return observe(self, model, batch)

    return counted


class Shelf:
    """Folders that are made once and read by many tests, in all worker processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, name: str, make: Callable[[Path], Path]) -> Path:
        """What `make(an empty folder)` returned when it was first asked for; to read only."""
        home, ready = self._root / name, self._root / f"{name}.json"
        with FileLock(self._root / f"{name}.lock"):
            if not ready.exists():
                shutil.rmtree(home, ignore_errors=True)
                home.mkdir(parents=True)
                ready.write_text(json.dumps(str(make(home))))
        return Path(read(ready))

    def copy(self, name: str, make: Callable[[Path], Path], to: Path) -> Path:
        """The same as a copy of one's own, inside `to` and under its own name."""
        return copied(self.get(name, make), to)


def copied(folder: Path, to: Path) -> Path:
    """A copy of a folder inside `to`, under its own name."""
    return Path(shutil.copytree(folder, to / folder.name))
