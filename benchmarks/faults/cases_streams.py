"""Terminals, pipes, full disks, rights, interrupts: what a command owes whoever has started it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ground as material
from cases import Case, Place, one_line, same_as_undisturbed
from child import Changing, Ended, Failing, Process

__all__ = ["CASES"]

_RUN = ["run", "--out", "made", "--methods", "vib", "--betas", "0.1", *material.TINY]
_NOBODY = 65534


def _run(place: Place, words: list[str], **how: object) -> Ended:
    return Process(place.words(words), place.folder, **how).run()  # type: ignore[arg-type]


def _has_report(ended: Ended) -> str:
    return "" if list(ended.folder.rglob("report.html")) else "the report is not there"


def _stream_cases() -> Iterator[Case]:
    for name, how in {
        "ASCII": {"encoding": "ascii"},
        "Latin-1": {"encoding": "latin-1"},
        "closed stdout": {"out": "closed"},
        "closed stdout and stderr": {"out": "closed", "err": "closed"},
        "closed stderr": {"err": "closed"},
        "a full stderr": {"err": "full"},
        "head": {"out": "head"},
        "20 columns": {"environment": {"COLUMNS": "20"}},
        "1 column": {"environment": {"COLUMNS": "1"}},
        "columns that are no number": {"environment": {"COLUMNS": "x", "LINES": "-3"}},
        "a dumb terminal": {"environment": {"TERM": "dumb"}, "out": "terminal"},
        "a terminal": {"environment": {"TERM": "xterm"}, "out": "terminal"},
        "no HOME": {"environment": {"HOME": None, "XDG_CACHE_HOME": None}},
        "forced colours": {"environment": {"FORCE_COLOR": "1"}},
    }.items():
        yield Case(
            f"run with {name}",
            "streams",
            "a run ends with 0 and its report, whatever it prints to",
            lambda place, how=how: _run(place, _RUN, **how),
            codes=(0,),
            check=_has_report,
        )
        for words in (["methods"], ["report", "@runs", "--markdown"]):
            yield Case(
                f"{words[0]} with {name}",
                "streams",
                "a command that shows something ends with 0, whatever it prints to",
                lambda place, how=how, words=words: _run(place, words, **how),
                codes=(0,),
                needs=("runs",),
            )
    for words in (_RUN, ["methods"], ["report", "@runs", "--markdown"], ["knee", "@runs"]):
        yield Case(
            f"{words[0]} > /dev/full",
            "streams",
            "output that cannot be written is said in one line",
            lambda place, words=words: _run(place, words, out="full"),
            codes=(2,),
            needs=("runs",),
        )
    yield Case(
        "an error with closed stdout",
        "streams",
        "an error keeps its exit code and its line",
        lambda place: _run(place, ["knee", "nowhere"], out="closed"),
        codes=(2,),
    )


def _fresh(place: Place, words: list[str], environment: dict[str, str], shell: str = "") -> Ended:
    """A process of its own, through a shell: nothing is as in this one but the code."""
    command = [sys.executable, "-m", "narrows.cli", *place.words(words)]
    line = " ".join(f"'{word}'" for word in command) + shell
    began = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=place.folder,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=300,
    )
    out, err = (part.decode("utf-8", "backslashreplace") for part in (done.stdout, done.stderr))
    ended = Ended(done.returncode, out, err, place.folder, time.monotonic() - began)
    ended.notes["silent"] = "2>&-" in shell
    return ended


def _shell_cases() -> Iterator[Case]:
    for name, words, environment, shell, codes in [
        ("PYTHONIOENCODING=ascii", ["methods"], {"PYTHONIOENCODING": "ascii"}, "", (0,)),
        ("LC_ALL=C", _RUN, {"LC_ALL": "C", "PYTHONUTF8": "0"}, "", (0,)),
        (
            "LC_ALL=C, no coercion",
            ["methods"],
            {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
            "",
            (0,),
        ),
        ("| head -1", ["methods"], {}, " | head -1", (0,)),
        ("> /dev/full", ["methods"], {}, " > /dev/full", (2,)),
        (">&-", ["methods"], {}, " >&-", (0,)),
        (">&- 2>&-", ["knee", "nowhere"], {}, " >&- 2>&-", (2,)),
    ]:
        yield Case(
            f"{words[0]} {name} in a shell",
            "shell",
            "the same, of a process that a shell has started",
            lambda place, a=(words, environment, shell): _fresh(place, *a),
            codes=codes,
            slow=True,
        )


def _disk_cases() -> Iterator[Case]:
    for error in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
        for number in (1, 2, 5, 12):
            yield Case(
                f"run, {errno.errorcode[error]} from change {number} on",
                "disk",
                "a disk that cannot be written is one line, and the same command goes on later",
                lambda place, error=error, number=number: _refused_then_done(
                    place, _RUN, error, number
                ),
                codes=(0,),
                check=same_as_undisturbed(tuple(_RUN)),
            )
    for words in (
        ["report", "@runs"],
        ["figure", "aib-6", "@runs"],
        ["plane", "@runs", "--samples", "40"],
    ):
        yield Case(
            f"{words[0]}, ENOSPC",
            "disk",
            "a page that cannot be written is one line",
            lambda place, words=words: _run(
                place, words, accident=Failing(1, errno.ENOSPC, place.folder)
            ),
            codes=(2,),
            needs=("runs",),
        )
    for words in (["report", "@runs"], ["knee", "@runs"], ["figure", "aib-6", "@runs"]):
        for number in (1, 2, 4):
            yield Case(
                f"{words[0]}, EIO at file {number}",
                "disk",
                "a file that cannot be read is one line",
                lambda place, a=(words, number): _run(
                    place, a[0], accident=Failing(a[1], errno.EIO, place.folder, reading=True)
                ),
                codes=(2,),
                needs=("runs",),
            )
    yield Case(
        "run on a full disk",
        "mount",
        "a full disk is one line, and the same command goes on when there is room",
        lambda place: _on_small_disk(place),
        codes=(0,),
        check=same_as_undisturbed(tuple(_RUN)),
    )
    yield Case(
        "run on a read-only disk",
        "mount",
        "a read-only disk is one line",
        lambda place: _on_read_only_disk(place),
        codes=(2,),
    )


def _refused_then_done(place: Place, words: list[str], error: int, number: int) -> Ended:
    """First with a disk that fails; if that was refused in one line, once more without."""
    first = _run(place, words, accident=Failing(number, error, place.folder))
    if first.code != 2 or one_line(first):
        return first
    return _run(place, words)


@contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
    )
    if done.returncode:
        raise NotImplementedError("mounting is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _on_small_disk(place: Place) -> Ended:
    made = place.folder / "made"
    with _mounted(made, "size=100k"):
        ended = _run(place, _RUN)
        if ended.code != 2 or one_line(ended):
            return ended
        subprocess.run(["mount", "-o", "remount,size=20m", made], check=True)
        ended = _run(place, _RUN)
        shutil.copytree(made, place.folder / "copy")
    shutil.copytree(place.folder / "copy", made, dirs_exist_ok=True)
    return ended


def _on_read_only_disk(place: Place) -> Ended:
    with _mounted(place.folder / "made", "ro"):
        return _run(place, _RUN)


def _rights_cases() -> Iterator[Case]:
    for name, words, path, mode in [
        ("a run", ["report", "@runs"], "runs", 0),
        ("a run's own folder", ["knee", "@runs"], "@runs", 0),
        ("a method", ["report", "@runs"], "@runs/vib", 0),
        ("a configuration of a run", ["report", "@runs"], "@runs/config.json", 0),
        ("a method", ["attack", "@runs", "--method", "vib", "--eps", ".1"], "@runs/vib", 0),
        ("models", ["plane", "@runs"], "@runs/vib/models.safetensors", 0),
        ("models", ["audit", "@runs/vib/models.safetensors", "--eps", ".1"], "@runs/vib", 0),
        ("a plane", ["plane", "planes/seed0.json"], "planes/seed0.json", 0),
        ("the module", ["attack", "net.py:net", "--data", "digits", "--eps", ".1"], "net.py", 0),
        ("a configuration", ["run", "run.toml", *_RUN[1:]], "run.toml", 0),
        ("the folder of data", ["train", "--data", "mnist", "--method", "vib"], "data", 0),
        ("out", _RUN, "made", 0o555),
        (
            "out",
            [
                "attack",
                "net.py:net",
                "--data",
                "digits",
                "--eps",
                ".1",
                "--images",
                "2",
                "--attack",
                "fgsm",
                "--out",
                "made/x",
            ],
            "made",
            0o555,
        ),
        ("the run", ["reevaluate", "@runs", "--images", "1"], "@runs", 0o555),
        ("the run", ["report", "@runs"], "@runs", 0o555),
    ]:
        yield Case(
            f"{words[0]}, no right to {'write' if mode else 'read'} {name} ({path})",
            "rights",
            "what may not be read or written is one line",
            lambda place, a=(words, path, mode): _without_rights(place, *a),
            codes=(2,),
            needs=("runs", "planes"),
        )


def _without_rights(place: Place, words: list[str], path: str, mode: int) -> Ended:
    for folder in [place.folder, *place.folder.parents[:-2]]:
        if os.stat(folder).st_uid == os.getuid():
            os.chmod(folder, 0o755)
    for name in ("made", "data"):
        (place.folder / name).mkdir()
    (place.folder / "run.toml").write_text("")
    target = place.folder / place.words([path])[0]
    if target.is_file():  # the material has it, too
        content = target.read_bytes()
        target.unlink()
        target.write_bytes(content)
    os.chmod(target, mode)
    data = {"NARROWS_DATA": "data", "XDG_CACHE_HOME": "cache", "HOME": str(place.folder)}
    try:
        user = _NOBODY if os.getuid() == 0 else None
        return _run(place, words, user=user, environment=data)
    finally:
        os.chmod(target, 0o755)


def _signal_cases() -> Iterator[Case]:
    few = ["--images", "2"]
    attack = ["attack", "@runs", "--method", "vib", "--beta", "0.1", "--attack", "standard"]
    attack += ["--eps", "0.1", "--set", "verify_draws=2", *few, "--out", "made"]
    audit = ["audit", "@runs", "--method", "cross_entropy", "--eps", "0.1", "--budget", "fast"]
    reevaluate = ["reevaluate", "@runs", "--methods", "vib", "--betas", "0.1", *few]
    for words, numbers, writing in (
        (_RUN, (3, 9, 15, 21), 6),
        (attack, (3, 5, 7), 5),
        ([*audit, *few, "--out", "made"], (4, 30), 10),
        (reevaluate, (1, 2), 3),
    ):
        for number in numbers:
            yield Case(
                f"{words[0]}, Ctrl-C at change {number}",
                "signals",
                "Ctrl-C is one line and 130, and the same command goes on to the same end",
                lambda place, a=(words, number): _interrupted(place, *a),
                codes=(0,),
                needs=("runs",),
                check=same_as_undisturbed(tuple(words)),
                slow=words[0] in ("audit", "reevaluate"),
            )
        yield Case(
            f"{words[0]} twice at once",
            "signals",
            "a folder that another process writes in is refused in one line",
            lambda place, a=(words, writing): _twice(place, *a),
            codes=(0,),
            needs=("runs",),
            check=same_as_undisturbed(tuple(words)),
            slow=words[0] in ("audit", "reevaluate"),
        )


def _interrupted(place: Place, words: list[str], number: int) -> Ended:
    _forget(place, words)
    first = _run(place, words, accident=Changing(number, signal.SIGINT))
    if first.code != 130:
        first.notes["fault"] = f"Ctrl-C ended it with {first.code}"
        return first
    if fault := one_line(first):
        first.notes["fault"] = fault
        return first
    return _run(place, words)


def _forget(place: Place, words: list[str]) -> None:
    """Begin a re-evaluation anew, which the material has."""
    if words[0] == "reevaluate":
        for folder in place.folder.glob("runs/*/reevaluation"):
            shutil.rmtree(folder)


def _twice(place: Place, words: list[str], writing: int) -> Ended:
    """One process is stopped at a change to a file; another one comes; the first one goes on."""
    _forget(place, words)
    process = Process(place.words(words), place.folder, accident=Changing(writing, signal.SIGSTOP))
    began = time.monotonic()
    child = process.start()
    os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    second = Process(place.words(words), place.folder, tag="-second").run()
    os.kill(child, signal.SIGCONT)
    first = process.finish(child, began)
    if second.code != 2:
        first.notes["fault"] = f"the second process ended with {second.code}"
    elif fault := one_line(second):
        first.notes["fault"] = f"the second process: {fault}"
    return first


CASES = [
    *_stream_cases(),
    *_shell_cases(),
    *_disk_cases(),
    *_rights_cases(),
    *_signal_cases(),
]
