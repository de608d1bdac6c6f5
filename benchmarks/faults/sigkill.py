"""Commands that are killed at random moments, again and again, end as if nothing had happened.

    python benchmarks/faults/sigkill.py [--rounds 200] [--seed 0] [--only audit]

A round starts one of `run` (with VIB, or as `hsic` with HBaR and IB-RAR), `attack`, `reevaluate`
and `audit`, kills it with SIGKILL, starts it again, kills it again, and after at most three kills
lets it end. Then every file of its folder is compared with that of an undisturbed run: JSON by its
contents, tensors bit for bit. What differs between two undisturbed runs too, such as seconds, dates
and paths, is left out, and listed.

Half of the kills come after a random time, the others as the process is about to make a certain
change to a file: those are the same on any machine. Ends with 1 if there is a difference.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import click
import ground as material
import torch

from narrows.storage import load_tensors

__all__ = ["CASES", "Case", "differences"]

_ONE = ["--methods", "cross_entropy,vib", "--betas", "0.1", *material.TINY]
_HSIC = ["--methods", "hbar,ib_rar", "--betas", "0.1", *material.TINY]
_PGD = ["--attack", "standard", "--eps", "0.1", "--images", "4", "--set", "verify_draws=2"]
_VIB = ["--method", "vib", "--beta", "0.1", "--seed", "0"]
_FAST = ["--method", "cross_entropy", "--seed", "0", "--eps", "0.1", "--budget", "fast"]
_FAST += ["--images", "2"]
_FEW = ["--methods", "vib", "--betas", "0.1"]
_CHANGES = ("os.rename", "os.mkdir", "os.remove")


class Case(NamedTuple):
    """A command that is killed.

    Attributes:
        name: of the command.
        words: of its command line; `@runs` stands for the run that it works on.
        needs: parts of the material.
        made: the folders that are compared.
    """

    name: str
    words: tuple[str, ...]
    needs: tuple[str, ...]
    made: tuple[str, ...]


CASES = [
    Case("run", ("run", "--out", "made", *_ONE, "--epochs", "6"), (), ("made",)),
    Case("hsic", ("run", "--out", "made", *_HSIC, "--epochs", "6"), (), ("made",)),
    Case("attack", ("attack", "@runs", *_VIB, *_PGD, "--out", "made"), ("runs",), ("made",)),
    Case("reevaluate", ("reevaluate", "@runs", *_FEW, "--images", "2"), ("runs",), ("runs",)),
    Case("audit", ("audit", "@runs", *_FAST, "--out", "made"), ("runs",), ("made",)),
]


class Moment(NamedTuple):
    """When a process is killed: after seconds, or as it makes its `change`-th change to a file."""

    seconds: float | None
    change: int | None


class End(NamedTuple):
    """How a process ended: exit code or minus the signal, seconds, and changes that it made."""

    code: int
    seconds: float
    changes: int


def start(words: list[str], folder: Path, moment: Moment | None) -> End:
    """Run a command in a process of its own, and kill it at that moment."""
    began = time.monotonic()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _become(words, folder, None if moment is None else moment.change, writer)
    os.close(writer)
    if moment is not None and moment.seconds is not None:
        while time.monotonic() - began < moment.seconds and not _ended(child):
            time.sleep(0.002)
        if not _ended(child):
            os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    changes = b""
    while part := os.read(reader, 4096):
        changes += part
    os.close(reader)
    seconds = time.monotonic() - began
    return End(os.waitstatus_to_exitcode(status), seconds, len(changes))


def _ended(child: int) -> bool:
    """Whether the process is over; it is not waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _become(words: list[str], folder: Path, last: int | None, writer: int) -> None:
    """Be a `narrows` process; each change to a file is told to the parent before it is made."""
    os.chdir(folder)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    made = 0

    def note(event: str, arguments: tuple) -> None:
        nonlocal made
        if event in _CHANGES:
            made += 1
            os.write(writer, b".")
            if made == last:
                os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        with material.on_event(note):
            code = material.command_line(words, quiet=False)
    except BaseException:  # the process ends here, whatever happens
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def moments(rng: Random, case_end: End) -> Iterator[Moment]:
    """Up to three moments, within what an undisturbed run takes."""
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.5:
            yield Moment(rng.uniform(0, 0.9 * case_end.seconds), None)
        else:
            yield Moment(None, rng.randint(1, max(1, case_end.changes)))


def prepare(case: Case, ground: Path, folder: Path) -> list[str]:
    """A new folder with what the command needs; its words."""
    material.clear(folder)
    folder.mkdir(parents=True)
    material.spread(ground, folder, case.needs)
    for made in {"reevaluate": folder.glob("runs/*/reevaluation")}.get(case.name, ()):
        shutil.rmtree(made)
    return material.Command(case.name, case.words, case.needs).line(ground)


def contents(folder: Path, made: tuple[str, ...]) -> dict[str, Any]:
    """Every value of every file, by its place."""
    values: dict[str, Any] = {}
    for name in made:
        for path in sorted((folder / name).rglob("*")):
            place = str(path.relative_to(folder))
            if path.is_dir() or path.stem in ("environment", ".lock"):
                continue
            values[place] = path.suffix
            if path.suffix == ".json":
                _flatten(values, place, json.loads(path.read_text()))
            elif path.suffix == ".jsonl":
                for number, line in enumerate(path.read_text().splitlines()):
                    _flatten(values, f"{place}:{number}", json.loads(line))
            elif path.suffix == ".safetensors":
                tensors, header = load_tensors(path)
                _flatten(values, place, header)
                for key, tensor in tensors.items():
                    raw = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
                    values[f"{place}#{key}"] = (str(tensor.dtype), tuple(tensor.shape), raw)
    return values


def _flatten(values: dict[str, Any], place: str, value: Any) -> None:
    items = value.items() if isinstance(value, dict) else None
    items = enumerate(value) if isinstance(value, list) else items
    if items is None:
        values[place] = value
        return
    values[place] = type(value).__name__ + str(len(value))
    for key, inner in items:
        _flatten(values, f"{place}.{key}", inner)


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The places at which two folders differ."""
    missing = object()
    return [
        place
        for place in sorted({*one, *other})
        # NaN is not itself, but it is the same.
        if repr(one.get(place, missing)) != repr(other.get(place, missing))
    ]


class Undisturbed(NamedTuple):
    """A command that ran twice without being killed."""

    values: dict[str, Any]
    passing: set[str]
    end: End


def undisturbed(case: Case, ground: Path, root: Path) -> Undisturbed:
    """What comes of a command, and what of that differs between two runs.

    Raises:
        ClickException: if it does not end with 0, or if tensors differ.
    """
    found = []
    for attempt in range(2):
        folder = root / f"{case.name}-{attempt}"
        end = start(prepare(case, ground, folder), folder, None)
        if end.code:
            log = (folder / "log").read_text()
            raise click.ClickException(f"{case.name} ended with {end.code}: {log[-2000:]}")
        found.append((contents(folder, case.made), end))
        time.sleep(1.1 if attempt == 0 else 0)  # so that dates differ, which count seconds
    passing = set(differences(found[0][0], found[1][0]))
    if tensors := [place for place in passing if "#" in place]:
        raise click.ClickException(f"{case.name} is not the same twice: {tensors[0]}")
    return Undisturbed(found[0][0], passing, found[0][1])


def round_of(
    case: Case, known: Undisturbed, rng: Random, ground: Path, folder: Path
) -> tuple[list[str], int]:
    """One round: what differs at its end, and how often the process was killed."""
    words, killed = prepare(case, ground, folder), 0
    for moment in moments(rng, known.end):
        end = start(words, folder, moment)
        killed += end.code == -signal.SIGKILL
        if end.code not in (0, -signal.SIGKILL):
            return [f"ended with {end.code}: {_last(folder)}"], killed
    end = start(words, folder, None)
    if end.code:
        return [f"ended with {end.code}: {_last(folder)}"], killed
    left = [str(path.name) for path in folder.rglob("*.tmp")]
    found = contents(folder, case.made)
    changed = [place for place in differences(known.values, found) if place not in known.passing]
    return [*(f"left behind: {name}" for name in left), *changed], killed


def _last(folder: Path) -> str:
    lines = (folder / "log").read_text("utf-8", "replace").splitlines()
    return lines[-1][:300] if lines else "nothing said"


@click.command()
@click.option("--rounds", default=200, show_default=True, help="Over all commands.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([case.name for case in CASES]),
    help="A command; repeatable.",
)
@click.option("--ground", type=click.Path(path_type=Path), help="Material to keep and use again.")
def main(rounds: int, seed: int, only: tuple[str, ...], ground: Path | None) -> None:
    """Kill commands and compare what comes of them in the end."""
    cases = [case for case in CASES if not only or case.name in only]
    counts: dict[str, Counter[str]] = {case.name: Counter() for case in cases}
    with tempfile.TemporaryDirectory(prefix="narrows-faults-") as top:
        root = Path(top).resolve()
        ground = material.prepare(root, ground and ground.resolve(), ("runs",))
        known = {case.name: undisturbed(case, ground, root) for case in cases}
        for name, one in known.items():
            listed = sorted({place.rpartition(".")[2] for place in one.passing})
            click.echo(f"{name}: {one.end.seconds:.1f} s, {one.end.changes} changes to files")
            click.echo(f"  not the same twice, and not compared: {', '.join(listed) or 'nothing'}")
        for number in range(rounds):
            case = cases[number % len(cases)]
            rng = Random(f"{seed}/{number}")
            changed, killed = round_of(case, known[case.name], rng, ground, root / "here")
            counts[case.name].update(rounds=1, kills=killed, differing=bool(changed))
            for place in changed[:5]:
                click.echo(f"round {number}, {case.name}: {place}")
    click.echo("| command | rounds | kills | rounds that differ |\n|---|---|---|---|")
    for name, count in counts.items():
        click.echo(f"| {name} | {count['rounds']} | {count['kills']} | {count['differing']} |")
    raise SystemExit(any(count["differing"] for count in counts.values()))


if __name__ == "__main__":
    main()
