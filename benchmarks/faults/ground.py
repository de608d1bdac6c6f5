"""The material that faults are put into: tiny runs of everything, and the commands that read them.

`build` makes them once, by the command line itself; `spread` gives a mutation a copy whose files
are hard links, so that only what is damaged is written. A damaged file has to be replaced, never
written over.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from workers import FORK

from narrows.cli import main

__all__ = [
    "COMMANDS",
    "FAST",
    "TINY",
    "Command",
    "available",
    "build",
    "clear",
    "command_line",
    "on_event",
    "prepare",
    "spread",
]

TINY = [
    *("--epochs", "2", "--seeds", "2", "--eps", "0.1", "--set", "evaluate.attack_images=12"),
    *("--set", "evaluate.pgd_steps=1", "--set", "evaluate.pgd_restarts=1"),
    *("--set", "evaluate.information_samples=40", "--set", "evaluate.samples=2"),
    *("--set", "network.encoder=[8]", "--set", "network.decoder=[8]"),
    *("--set", "network.bottleneck=2", "--set", "train.learning_rate=0.03"),
    *("--set", "train.checkpoint_seconds=0"),
]
_RUN = ["run", "--out", "runs", "--methods", "cross_entropy,vib", "--betas", "0.001,0.1,1", *TINY]
_ONE = ["--methods", "vib", "--betas", "0.1", "--set", "train.epochs=3", *TINY[4:]]
_TWELVE = ["run", "--data", "twelve-bit", "--methods", "vib", "--betas", "0.1", "--out", "twelve"]
_ONE_MODEL = ["train", "--out", "single", "--method", "vib", "--beta", "0.1", *TINY[:2], *TINY[6:]]

NET = """
import torch

def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


@dataclass(frozen=True)
class Command:
    """A command on intact material that ends with 0.

    Attributes:
        name: of the command.
        words: of its command line; a word that starts with `@` is a folder of the material.
        needs: folders that it reads, or goes on in.
        weight: how often it is drawn.
    """

    name: str
    words: tuple[str, ...]
    needs: tuple[str, ...]
    weight: float = 1.0

    def line(self, ground: Path) -> list[str]:
        """Its words, with the names of the run folders in place of `@runs` and the like."""
        return [self._named(ground, word) for word in self.words]

    @staticmethod
    def _named(ground: Path, word: str) -> str:
        if not word.startswith("@"):
            return word
        top, _, below = word[1:].partition("/")
        (folder,) = (path for path in (ground / top).iterdir() if path.is_dir())
        return "/".join(filter(None, [top, folder.name, below]))


_FEW = ("--methods", "vib", "--betas", "0.1")
_ATTACK = ("--method", "vib", "--beta", "0.1", "--attack", "pgd", "--eps", "0.1", "--images", "6")
_ATTACK += ("--set", "steps=2", "--set", "restarts=1")
_AUDIT = ("--method", "vib", "--beta", "0.1", "--eps", "0.1", "--budget", "fast", "--images", "3")
_PLAIN = ("--method", "cross_entropy", *_AUDIT[4:])

COMMANDS = [
    Command("run", tuple(_RUN), ("runs",), 1.5),
    Command("run", ("run", "--out", "broken", *_ONE), ("broken",), 2),
    Command("run", ("run", "--out", "half", *_ONE), ("half",), 1),
    Command("train", tuple(_ONE_MODEL), ("single",), 1.5),
    Command("report", ("report", "@runs"), ("runs",), 3),
    Command("report", ("report", "@runs", "--markdown"), ("runs",), 2),
    Command("knee", ("knee", "@runs"), ("runs",), 2),
    Command("knee", ("knee", "@runs", "--json", "--split", "test"), ("runs",), 2),
    Command("plane", ("plane", "@runs", "--samples", "40", "--json"), ("runs",), 1),
    Command("plane", ("plane", "@runs", "--methods", "vib", "--samples", "40"), ("runs",), 0.5),
    Command("plane", ("plane", "planes/seed0.json", "--json"), ("planes",), 1.5),
    Command("plane", ("plane", "planes/seed0.json", "planes/seed1.json"), ("planes",), 1),
    Command("figure", ("figure", "vib-1", "@runs"), ("runs",), 1),
    Command("figure", ("figure", "vib-2", "@runs"), ("runs",), 1),
    Command("figure", ("figure", "aib-4", "@twelve"), ("twelve",), 1),
    Command("figure", ("figure", "aib-5", "@runs"), ("runs",), 1),
    Command("figure", ("figure", "aib-6", "@runs"), ("runs",), 1),
    Command("figure", ("figure", "imb-1", "@imb"), ("imb",), 2),
    Command("reevaluate", ("reevaluate", "@runs", *_FEW, "--images", "3"), ("runs",), 2),
    Command("attack", ("attack", "@runs", *_ATTACK, "--out", "attack"), ("runs", "attack"), 3),
    Command("attack", ("attack", "@single/vib/models.safetensors", *_ATTACK[4:]), ("single",), 1),
    Command("audit", ("audit", "@runs", *_AUDIT, "--out", "audit"), ("runs", "audit"), 2),
    Command("audit", ("audit", "@runs", *_PLAIN, "--out", "open"), ("runs", "open"), 0.2),
    Command("methods", ("methods",), (), 0),
    Command("estimators", ("estimators",), (), 0),
    Command("runs", ("runs", "runs"), ("runs",), 0),
    Command("config", ("config", "@runs/config.json"), ("runs",), 0.5),
    Command("export", ("export", "@runs", "--method", "vib", "--out", "exported"), ("runs",), 0.3),
    Command("reproduce", ("reproduce", "--list"), (), 0),
    # Their files are missing: only options and arguments are mutated.
    Command("sweep", ("sweep", "grid.toml", "--dry-run"), (), 0),
    Command("mi", ("mi", "x.csv", "z.csv", "--estimators", "ksg", "--draws", "1"), (), 0),
]


FAST = ("runs", "single", "attack", "broken", "open", "planes")
"""Parts of the material that take a few seconds to make."""


def available(ground: Path) -> list[Command]:
    """The commands whose material has been made."""
    return [one for one in COMMANDS if all((ground / need).exists() for need in one.needs)]


def command_line(words: Sequence[str], quiet: bool = True) -> int:
    """Run a command in this process; its exit code."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as sink:
        if quiet:
            sys.stdout = sys.stderr = sink
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        finally:
            if quiet:
                sys.stdout, sys.stderr = before
    return 0


Listener = Callable[[str, tuple[Any, ...]], None]
_LISTENERS: list[Listener] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    for listener in _LISTENERS:
        listener(event, arguments)


@contextmanager
def on_event(listener: Listener) -> Iterator[None]:
    """Call `listener(event, arguments)` at every audit event of Python in the block."""
    if not getattr(sys, "_narrows_faults_listen", False):
        sys.addaudithook(_hear)
        sys._narrows_faults_listen = True  # a hook cannot be taken away again
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


class Interrupted:
    """Stops the program, as Ctrl-C does, when a file of this name has been put in place so often.

    Counting files and not seconds, it always stops at the same place.
    """

    def __init__(self, name: str, times: int) -> None:
        self.name, self.left = name, times

    def __call__(self, event: str, arguments: tuple) -> None:
        if event == "os.rename" and str(arguments[1]).endswith(self.name):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def build(ground: Path, parts: Sequence[str] = ()) -> None:
    """Make the named parts of the material, or all, in a folder; those that are there are kept.

    Raises:
        RuntimeError: naming the command that did not end as it should.
    """
    ground.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    os.chdir(ground)
    try:
        _bundles(Path.cwd(), building=True)
        missing = [part for part in parts or _PARTS if not Path(part).exists()]
        for part in [part for part in _PARTS if part in missing]:
            _PARTS[part]()
        if not missing:
            return
        for page in ground.rglob("*.html"):
            page.unlink()  # written anew by each command; the largest files there are
        Path("net.py").write_text(NET)
        with Path("modules").open("a") as file:
            file.write("\n".join([*sorted(sys.modules), ""]))
    finally:
        os.chdir(before)


def _bundles(ground: Path, building: bool) -> None:
    """Make the scripts of pages once, and not for 1.3 seconds in each process that draws.

    They are the same for all pages, and come from another library.
    """
    import vl_convert

    make, file = vl_convert.javascript_bundle, ground / "bundles"
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}

    def bundle(*arguments: Any, **options: Any) -> str:
        key = repr((arguments, options))
        if key not in known:
            known[key] = make(*arguments, **options)
            if building:
                file.write_text(json.dumps(known))
        return known[key]

    vl_convert.javascript_bundle = bundle


def prepare(root: Path, ground: Path | None = None, parts: Sequence[str] = ()) -> Path:
    """Make the material in a process of its own, so that this one can be forked; its folder.

    What the commands import is imported here, too: an import that is interrupted in a forked
    process would leave half a module to all that comes after it.

    Raises:
        RuntimeError: if it could not be made.
    """
    import torch

    torch.set_num_threads(1)
    ground = ground or root / "ground"
    process = FORK.Process(target=build, args=(ground, parts))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError("the material could not be made: see above")
    for name in (ground / "modules").read_text().split():
        with suppress(Exception):
            import_module(name)
    _bundles(ground, building=False)
    return ground


def _make_runs() -> None:
    _expect(_RUN)
    here = Path.cwd()
    _expect(["methods"])
    for command in COMMANDS:
        if command.needs == ("runs",) and command.name != "run":
            _expect(command.line(here))


def _make_twelve() -> None:
    _expect([*_TWELVE, *TINY[4:], "--set", "train.epochs=1", "--set", "train.batch_size=1024"])
    (figure,) = [one for one in COMMANDS if one.needs == ("twelve",)]
    _expect(figure.line(Path.cwd()))


def _with_out(folder: str) -> list[str]:
    (command,) = [one for one in COMMANDS if one.needs == ("runs", folder)]
    return command.line(Path.cwd())


_PARTS: dict[str, Callable[[], None]] = {
    "runs": _make_runs,
    "single": lambda: _expect(_ONE_MODEL),
    "twelve": _make_twelve,
    "attack": lambda: _expect(_with_out("attack")),
    "audit": lambda: _expect(_with_out("audit")),
    "broken": lambda: _stopped(["run", "--out", "broken", *_ONE], "checkpoint.safetensors", 2),
    "half": lambda: _stopped(["run", "--out", "half", *_ONE], "models.safetensors", 1),
    "open": lambda: _stopped(_with_out("open"), ".safetensors", 3),
    "planes": lambda: _planes(),
    "imb": lambda: _imb(),
}
"""Folders of the material, in the order in which they are made."""


def _expect(words: Sequence[str], code: int = 0) -> None:
    got = command_line(words)
    if got != code:
        raise RuntimeError(f"narrows {' '.join(words)} ended with {got}, expected {code}")


def _stopped(words: Sequence[str], name: str, times: int) -> None:
    with on_event(Interrupted(name, times)):
        _expect(words, 130)


def _planes() -> None:
    import torch

    from narrows.information import PlaneRecorder
    from narrows.types import Batch

    Path("planes").mkdir()
    for seed in range(2):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
        recorder = PlaneRecorder(net, None, Batch(torch.rand(20, 2), torch.arange(20) % 2))
        for epoch in range(2):
            recorder(epoch=epoch)
        recorder.save(Path(f"planes/seed{seed}.json"))


def _imb() -> None:
    try:
        module = import_module("narrows.papers.imb")
    except ModuleNotFoundError:
        module = import_module("narrows.papers.imb")
    words = ["--epochs", "1", "--seeds", "2", "--batch-size", "4096", "--samples", "1"]
    words += ["--methods", "sfnn,joint_imb", "--out", "imb"]
    with open(os.devnull, "w") as sink:
        before, sys.stdout = sys.stdout, sink
        try:
            module.main(words, standalone_mode=False)
        finally:
            sys.stdout = before


def spread(ground: Path, folder: Path, needs: tuple[str, ...]) -> None:
    """Put hard links to the named parts of the material into a new folder."""
    for name in needs:
        shutil.copytree(ground / name, folder / name, copy_function=os.link)
    os.link(ground / "net.py", folder / "net.py")


def clear(folder: Path) -> None:
    """Delete a folder, whatever has become of it."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
