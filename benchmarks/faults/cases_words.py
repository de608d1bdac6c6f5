"""Names, devices and numbers that a user may give, each with the exit code that is right."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import ground as material
import torch
from cases import Case, Place
from child import Ended, Process
from judge import marked_up

__all__ = ["CASES"]

_RUN = ["run", "--out", "made", "--methods", "vib", "--betas", "0.1", *material.TINY]
_TRAIN = ["train", "--out", "made", "--method", "vib", "--beta", "0.1"]
_TRAIN += [*material.TINY[:2], *material.TINY[6:]]
_ATTACK = ["--data", "digits", "--attack", "fgsm", "--eps", "0.1", "--images", "3"]
_AUDIT = ["--data", "digits", "--eps", "0.1", "--budget", "fast", "--images", "2"]

NAMES = {
    "markup of rich": "x [/red] y",
    "open markup": "[bold",
    "a link": "[link=file:///x]",
    "a line break": "a\nb",
    "a script": "<!--<script>planted",
    "a tag": "<i>planted<i>",
    "a quote": "a'b\"c`d",
    "no Latin": "日本語é",
    "an emoji": "🙂",
    "right to left": "\u202eabc",
    "a percent": "%s %n",
    "braces": "{{7*7}} {0}",
    "blanks": " a ",
    "a backslash": "a\\b",
    "an escape": "\x1b[31mred",
    "no UTF-8": "a\udcffb",
    "a leading dash": "-x",
    "200 characters": "n" * 200,
}


def _run(place: Place, words: list[str], **how: object) -> Ended:
    return Process(place.words(words), place.folder, **how).run()  # type: ignore[arg-type]


def _no_markup(ended: Ended) -> str:
    return marked_up(ended.folder)


def _name_cases() -> Iterator[Case]:
    rule = "a name is shown as it is, whatever it looks like"
    for name, text in NAMES.items():
        for command, rest in (("attack", _ATTACK), ("audit", _AUDIT)):
            yield Case(
                f"{command} of a module below {name}",
                "names",
                rule,
                lambda place, a=(command, rest, text): _named_module(place, *a),
                codes=(0,),
                check=_no_markup,
                slow=command == "audit" and name not in ("markup of rich", "a script", "a tag"),
            )
        for command in ("report", "knee", "plane", "figure", "reevaluate"):
            yield Case(
                f"{command} of a run below {name}",
                "names",
                rule,
                lambda place, a=(command, text): _named_run(place, *a),
                codes=(0,),
                needs=("runs",),
                check=_no_markup,
                slow=command in ("plane", "figure") and name not in ("a line break", "no UTF-8"),
            )
        yield Case(
            f"run with --out {name}",
            "names",
            rule,
            lambda place, text=text: _run(
                place, [*_RUN[:1], f"--out=./{text}", *_RUN[3:], "--quiet"]
            ),
            codes=(0,),
            check=_no_markup,
        )
    for name, text, codes in (
        ("300 characters", "n" * 300, (2,)),
        ("5,000 characters", "n" * 5000, (2,)),
        ("NUL", "a\0b", (2,)),
        ("nothing", "", (0, 2)),
        ("a file", "net.py", (2,)),
        ("below a file", "net.py/x", (2,)),
        ("a link to nothing", "link", (0, 2)),
        ("a link to itself", "loop", (2,)),
        ("/dev/null", "/dev/null", (2,)),
        ("/proc/none", "/proc/none", (2,)),
    ):
        for words in (_RUN, ["attack", "net.py:net", *_ATTACK], ["audit", "net.py:net", *_AUDIT]):
            yield Case(
                f"{words[0]} --out {name}",
                "names",
                "a folder that cannot be made is one line",
                lambda place, a=(words, text): _with_out(place, *a),
                codes=codes,
            )
    for text in (
        "",
        "a\0b",
        "n" * 300,
        "n" * 5000,
        "a\nb",
        "nowhere",
        "[/red]",
        "\udcff",
        "net.py",
    ):
        for command in ("report", "knee", "plane", "reevaluate", "attack", "audit", "run"):
            yield Case(
                f"{command} of {text[:20]!r}",
                "names",
                "what is not there is said in one line",
                lambda place, a=(command, text): _run(place, _of(*a)),
                codes=(2,),
            )


def _of(command: str, text: str) -> list[str]:
    return [command, text, *(["--eps", "0.1"] if command in ("attack", "audit") else [])]


def _named_module(place: Place, command: str, rest: list[str], text: str) -> Ended:
    folder = place.folder / text
    folder.mkdir(parents=True)
    shutil.copy(place.folder / "net.py", folder / "d.py")
    return _run(place, [command, f"./{text}/d.py:net", *rest, "--out", "made"])


def _named_run(place: Place, command: str, text: str) -> Ended:
    (runs,) = (path for path in (place.folder / "runs").iterdir() if path.is_dir())
    (place.folder / text).mkdir(parents=True)
    runs.rename(place.folder / text / "run [red]")
    path = f"./{text}/run [red]"
    few = {
        "plane": ["--samples", "30", "--methods", "vib", "--betas", "0.1"],
        "reevaluate": ["--methods", "vib", "--betas", "0.1", "--images", "3"],
    }
    return _run(
        place, [command, *(["aib-6"] if command == "figure" else []), path, *few.get(command, [])]
    )


def _with_out(place: Place, words: list[str], text: str) -> Ended:
    (place.folder / "link").symlink_to("nowhere")
    (place.folder / "loop").symlink_to("loop")
    return _run(place, [*words, "--out", text])


def _device_cases() -> Iterator[Case]:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for device in (
        "meta",
        "hpu",
        "cuda",
        "cuda:99",
        "xpu",
        "mps",
        "mtia",
        "xla",
        "vulkan",
        "cpu:-1",
        "",
        "CPU",
        "cpu ",
        "gpu",
        "cuda:x",
        "0",
        "[/red]",
        "privateuseone",
        "lazy",
        "ipu",
    ):
        for words, needs in (
            ([*_TRAIN], ()),
            ([*_RUN], ()),
            (["attack", "net.py:net", *_ATTACK], ()),
            (["audit", "net.py:net", *_AUDIT], ()),
            (
                ["reevaluate", "@runs", "--images", "2", "--methods", "vib", "--betas", "0.1"],
                ("runs",),
            ),
        ):
            yield Case(
                f"{words[0]} --device {device!r}",
                "devices",
                "a device that is not here is one line",
                lambda place, a=(words, device): _run(place, [*a[0], "--device", a[1]]),
                codes=(0, 2) if there.get(device) else (2,),
                needs=needs,
            )


def _number_cases() -> Iterator[Case]:
    digits = "9" * 5000
    refused = [
        "betas.0=0.5",
        "options=[1]",
        "options=1",
        "options.vib=[1]",
        "options.vib.x=1",
        "grids=[1]",
        "betas={a: 1}",
        "betas=[[1]]",
        f"seeds={digits}",
        f"betas=[{digits}]",
        "seeds=1e99",
        f"train.epochs={digits}",
        f"network.encoder=[{digits}]",
        "network.encoder=[1000000000000]",
        "network.encoder=[100000,100000,100000]",
        f"network.bottleneck={2**63}",
        "network=[1]",
        f"network.bottleneck={2**31}",
        "network.decoder=[0]",
        "network.encoder=[-1]",
        "train=1",
        "a=" + "[" * 5000 + "]" * 5000,
        ".".join("a" * 5000) + "=1",
        "=1",
        "x",
        "train.epochs",
        ".=1",
        "train.batch_size=0",
        "train.learning_rate=nan",
        "evaluate.eps=[nan]",
        "evaluate.eps=[]",
        "data=[1]",
        "methods=vib",
        "methods=[[vib]]",
        "device=[cpu]",
        "stack=maybe",
        "seeds=true",
        "seeds=!!python/object/apply:os.getpid []",
        "data=${oc.env:HOME}",
        "data=${data}",
        "data=???",
        "network.name=${x}",
        "a.b.c=1",
        "options.aib.a.b=1",
    ]
    for text in refused:
        yield Case(
            f"train --set {text[:50]!r}",
            "numbers",
            "what is no value of a key is one line, in a second and in little memory",
            lambda place, text=text: _run(place, [*_TRAIN, "--set", text]),
            codes=(2,),
            check=_quick,
        )
    for extra, codes in (
        (["--seeds", "3000000"], (2,)),
        (["--seeds", str(10**12)], (2,)),
        (["--set", f"first_seed={2**64}"], (2,)),
        (["--set", f"first_seed={2**63}"], (0, 2)),
        (["--set", f"first_seed={2**64 - 1}"], (0, 2)),
        (["--set", "first_seed=-1"], (2,)),
        (["--betas", "1e400"], (2,)),
        (["--betas", ""], (2,)),
        (["--betas", ","], (2,)),
        (["--eps", "0.1,0.1"], (0, 2)),
        (["--methods", ""], (2,)),
        (["--methods", "vib,vib"], (2,)),
        (["--methods", "hbar"], (0,)),
        (["--methods", "ib_rar"], (0,)),
    ):
        yield Case(
            f"run {' '.join(extra)[:50]}",
            "numbers",
            "a value out of range is one line; every method trains",
            lambda place, extra=extra: _run(place, [*_RUN[:5], *_without_seeds(extra), *extra]),
            codes=codes,
        )
    yield Case(
        "run of a beta that diverges",
        "numbers",
        "the other methods are trained where one diverges",
        lambda place: _run(
            place, [*_RUN[:3], "--betas", "1e38", *_RUN[7:], "--methods", "vib,cross_entropy"]
        ),
        codes=(0, 2),
        check=lambda ended: (
            ""
            if list(ended.folder.rglob("cross_entropy/done.json"))
            else "cross_entropy was not trained"
        ),
    )
    yield from _file_cases()


def _without_seeds(extra: list[str]) -> list[str]:
    """The options of a tiny run, with its betas unless there are others."""
    betas = [] if "--betas" in extra else ["--betas", "0.1"]
    return [*betas, *material.TINY]


def _quick(ended: Ended) -> str:
    return f"took {ended.seconds:.0f} s" if ended.seconds > 20 else ""


def _file_cases() -> Iterator[Case]:
    for name, text in {
        "a table of betas": "[betas]\na = 1\n",
        "5,000 digits": f"seeds = {'9' * 5000}\n",
        "1,000 brackets": f"betas = {'[' * 1000}{']' * 1000}\n",
        "5,000 dots": "a." * 5000 + "a = 1\n",
        "an array of options": "options = [1]\n",
        "a date": "seeds = 2020-01-01\n",
        "no UTF-8": "data = '\udcff'\n",
        "nothing after =": "seeds =\n",
        "JSON of something else": '{"a": 1}\n',
        "a list": "[1, 2]\n",
    }.items():
        yield Case(
            f"run of a file with {name}",
            "numbers",
            "a configuration that is none is one line",
            lambda place, text=text: _run_file(place, text),
            codes=(2,),
        )
    yield Case(
        "run of the config.json of a run",
        "numbers",
        "the configuration that a run has stored can be run",
        lambda place: _run(place, ["run", "@single/config.json", "--out", "made", "--quiet"]),
        codes=(0,),
        needs=("single",),
    )
    yield Case(
        "figure imb-1 of an ordinary run",
        "numbers",
        "the folder of a run is not said to be none",
        lambda place: _run(place, ["figure", "imb-1", "@runs"]),
        codes=(2,),
        needs=("runs",),
    )
    yield Case(
        "figure imb-1 says what it takes",
        "numbers",
        "the folder of a run is not said to be none",
        lambda place: _asking(_run(place, ["figure", "imb-1", "@runs"])),
        codes=(2,),
        needs=("runs",),
    )


def _asking(ended: Ended) -> Ended:
    if re.search(r"is \S+ the folder of a run\?", ended.err):
        ended.notes["fault"] = "it asks whether the folder of a run is one"
    return ended


def _run_file(place: Place, text: str) -> Ended:
    (place.folder / "run.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    return _run(place, ["run", "run.toml", "--out", "made"])


CASES = [*_name_cases(), *_device_cases(), *_number_cases()]
