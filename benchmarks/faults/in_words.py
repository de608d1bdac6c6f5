"""Mutations of what is typed: overrides, configuration files, options and arguments.

| kind   | what is changed                                                  | has to be         |
|--------|------------------------------------------------------------------|-------------------|
| set    | `--set KEY=VALUE` of run, train and attack                       | done, or one line |
| toml   | the configuration file of run and train                          | done, or one line |
| option | any option or argument of any command, by its own declaration    | done, or one line |
| huge   | widths, counts and seeds that no computer has room for           | refused at once   |

What is valid and long is interrupted after a second, and has to say so in one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, get_args, get_type_hints

import click
from ground import COMMANDS, TINY, available
from in_files import reformed
from mutation import Mutation
from values import YAML, damage_bytes, json_value, text_value, yaml_value

from narrows.cli import cli

__all__ = ["KINDS", "covered"]

_SECONDS = 0.7
_TRAIN = ["train", "--out", "out", "--method", "vib", "--beta", "0.1", *TINY[:2], *TINY[6:]]
_RUN = ["run", "--out", "out", "--methods", "vib", "--betas", "0.1", "--seeds", "1", *TINY[4:]]
_RUN += ["--epochs", "1"]
_ATTACK = ["attack", "net.py:net", "--data", "digits", "--attack", "pgd", "--eps", "0.1"]
_ATTACK += ["--images", "4", "--set", "steps=2", "--set", "restarts=1", "--out", "found"]
_OWN = {"pgd": ("steps", "restarts", "step_size", "loss"), "square": ("queries", "p_init")}
_OWN |= {"fgsm": ("loss",), "deepfool": ("steps", "overshoot")}
_HUGE = ["1000000000000", "1e12", "9223372036854775807", str(2**63), str(2**64), "9" * 30]


def covered() -> tuple[list[str], list[str]]:
    """The commands of `narrows`, and those of them that no intact command line is known of."""
    names = sorted(cli.commands)
    return names, [name for name in names if name not in {command.name for command in COMMANDS}]


def _short(command: str, text: str, words: list[str], **more: Any) -> Mutation:
    return Mutation(
        command, text, words, seconds=_SECONDS, waiting=20.0, may_be_interrupted=True, **more
    )


def _config_class() -> Any:
    try:
        return import_module("narrows.runs").RunConfig
    except ModuleNotFoundError:
        return import_module("narrows.experiments.config").RunConfig


def _keys(kind: Any = None, path: str = "") -> list[str]:
    """Every key of a configuration, as `--set` names it."""
    if kind is None:
        keys = _keys(_config_class())
        keys += [f"options.{name}" for name in ("vib", "aib.steps", "vib.samples", "trades", "x.y")]
        return [*keys, "grids.vib", "grids.x", "options.pgd_training.attack"]
    keys = []
    for name, hint in get_type_hints(kind).items():
        keys.append(path + name)
        for inner in (hint, *get_args(hint)):
            if is_dataclass(inner):
                keys += _keys(inner, f"{path}{name}.")
    return keys


def _key(rng: Random, keys: list[str]) -> str:
    key = rng.choice(keys)
    draw = rng.random()
    if draw < 0.75:
        return key
    if draw < 0.85:
        return key + rng.choice([".0", ".x", ".", "[0]", ".0.0", ".x.y.z", " ", ".-1"])
    if draw < 0.95:
        return rng.choice([key + "s", key.upper(), "." + key, key[:-1], key.replace(".", "..")])
    return text_value(rng)


def set_(rng: Random, ground: Path) -> Mutation:
    words = rng.choices([_TRAIN, _RUN, _ATTACK], [3, 2, 1])[0]
    if words is _ATTACK:
        attack = rng.choice(["pgd", "pgd", "fgsm", "square", "standard", "deepfool"])
        keys = [*_OWN.get(attack, ()), "eps", "norm", "draws", "seed", "chunk", "verify_draws"]
        words = [*words[: words.index("--set")], "--attack", attack, "--out", "found"]
    else:
        keys = _keys()
    given = [f"{_key(rng, keys)}={yaml_value(rng)}" for _ in range(rng.choice([1, 1, 1, 2]))]
    if rng.random() < 0.05:
        given[0] = text_value(rng)
    return _short(
        words[0],
        " ".join(given),
        [*words, *(part for text in given for part in ("--set", text))],
    )


_TOML = """data = "digits"
methods = ["vib"]
betas = [0.1]
seeds = 1
device = "cpu"

[network]
encoder = [8]
bottleneck = 2
decoder = [8]

[train]
epochs = 1
learning_rate = 0.01

[evaluate]
eps = [0.1]
attack_images = 10
pgd_steps = 1
pgd_restarts = 1
samples = 2
information_samples = 40

[options.vib]
"""

_TABLES = [
    *("[betas]\na = 1", "[[network]]\nx = 1", "[train.epochs]", "[a.b.c.d]", "[options.vib.x]"),
    *("betas = 2020-01-01", "seeds = 10:00:00", "seeds = 0xffffffffffffffffffff", "seeds = 1e3"),
    *("seeds = " + "9" * 5000, "betas = [" + "[" * 1000 + "]" * 1000 + "]", "a." * 3000 + "a = 1"),
    *("betas = [nan]", "betas = [inf]", "betas = [[1]]", "betas = [true]", 'betas = ["1"]'),
    *("options = [1]", "options = 1", "grids = [1]", "grids = {vib = 1}", "options = {vib = []}"),
    *("network = 1", "network = []", 'network = "mlp"', "train = true", "evaluate = [[1]]"),
    *('"" = 1', '"a b" = 1', '"é" = 1', "methods = []", "methods = [[]]", "methods = {}"),
    *('data = """' + "x" * 5000 + '"""', 'data = "\\u0000"', 'data = "a\\nb"', "data = ''"),
    *("first_seed = -1", "first_seed = 18446744073709551616", "seeds = -0", "stack = 1"),
]


def _as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_as_toml(part)}' for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    return {"NaN": "nan", "null": "''"}.get(text := json.dumps(value), text)


def toml(rng: Random, ground: Path) -> Mutation:
    draw = rng.random()
    content = _TOML.encode()
    if draw < 0.35:
        what, content = damage_bytes(rng, content)
    elif draw < 0.75:
        what, content = _changed_toml(rng)
    elif draw < 0.9:
        (file,) = ground.glob("single/*/config.json")
        what, content = reformed(rng, file, file.read_bytes(), signed=rng.random() < 0.8)
    else:
        what = rng.choice(["is a folder", "is not there", "is a link to itself"])
    command = rng.choice([_RUN[:1], ["train"]])
    stored = 0.75 <= draw < 0.9
    name = rng.choices(["run.toml", "run.json", "run"], [0.3, 2, 0.3] if stored else [2, 0.2, 0.3])[
        0
    ]

    def prepare(folder: Path) -> None:
        things: dict[str, Callable[[Path], object]] = {
            "is a folder": lambda path: path.mkdir(),
            "is not there": lambda path: None,
            "is a link to itself": lambda path: path.symlink_to(path.name),
        }
        things.get(what, lambda path: path.write_bytes(content))(folder / name)

    words = [*command, name, "--out", "out", "--quiet"]
    return _short(command[0], f"{name} {what}", words, prepare=prepare)


def _changed_toml(rng: Random) -> tuple[str, bytes]:
    lines = _TOML.splitlines()
    if rng.random() < 0.5:
        added = rng.choice(_TABLES)
        key = added.partition(" ")[0]
        kept = [line for line in lines if not line.startswith(f"{key} ")]
        place = rng.choice([0, len(kept)])
        kept[place:place] = [added]
        return f"has {added[:60]}", "\n".join(kept).encode("utf-8", "replace")
    place = rng.choice([i for i, line in enumerate(lines) if " = " in line])
    key = lines[place].partition(" ")[0]
    value = text_value(rng) if rng.random() < 0.3 else _as_toml(json_value(rng))
    lines[place] = f"{key} = {value}"
    return f"has {lines[place][:60]!r}", "\n".join(lines).encode("utf-8", "replace")


_WORDS = {"run": _RUN, "train": _TRAIN, "attack": _ATTACK, "methods": ["methods"]}


def option(rng: Random, ground: Path) -> Mutation:
    commands = available(ground)
    listed = sorted({command.name for command in commands})
    name = rng.choices(listed, [1 if name == "audit" else 3 for name in listed])[0]
    base = rng.choice([command for command in commands if command.name == name])
    words, needs = (_WORDS[name], ()) if name in _WORDS else (base.line(ground), base.needs)
    declared = [
        one
        for one in cli.commands[name].params
        # What draws pictures takes many seconds, in which it cannot be interrupted.
        if isinstance(one, click.Option) and one.name != "png"
    ]
    draw = rng.random()
    if draw < 0.12:  # an argument
        places = [i for i, word in enumerate(words[1:3], 1) if not word.startswith("-")]
        value = text_value(rng)
        place = rng.choice(places or [len(words)])
        what, words = f"argument {value[:60]!r}", [*words[:place], value, *words[place + 1 :]]
    elif draw < 0.2 or not declared:
        value = text_value(rng)
        what, words = f"argument {value[:60]!r} more", [*words, value]
    else:
        chosen = rng.choice(declared)
        value = _option_value(rng, chosen)
        what = f"{chosen.opts[-1]} {value[:60]!r}"
        words = [*words, chosen.opts[-1]] + ([] if chosen.is_flag else [value])
    words = [word for word in words if not _leaves(word)]
    return _short(name, what, words, needs=needs)


def _leaves(word: str) -> bool:
    """Whether a path leaves the working folder, where nothing could be said about what it does."""
    stays = word.startswith(("/dev/null/", "~nobodyx"))
    return word == ".." or (word.startswith(("/", "../", "~")) and not stays)


def _option_value(rng: Random, chosen: click.Option) -> str:
    if rng.random() < 0.3:
        if isinstance(chosen.type, click.Choice):
            return str(rng.choice(list(chosen.type.choices)))
        numbers = ["0", "1", "-1", "2", "0.5", "1e-300", "nan", "inf", "1e38", "3000000", "1,2,3"]
        numbers += ["0.1,0.1", "0.1,nan", ",", "1,", str(2**63), str(2**64), "1" * 400]
        return rng.choice(numbers)
    if chosen.name == "overrides":
        return f"{rng.choice(['train.epochs', 'eps', 'x', ''])}={rng.choice(YAML)}"
    return text_value(rng)


def huge(rng: Random, ground: Path) -> Mutation:
    value = rng.choice(_HUGE)
    whole = value if value != "1e12" else "1000000000000"
    # No refusal is due where the number could mean something, like epochs.
    given = rng.choice(
        [
            f"network.encoder=[{whole}]",
            f"network.decoder=[{whole}]",
            f"network.encoder=[8,{whole},8]",
            f"network.bottleneck={whole}",
            f"seeds={whole}",
            f"first_seed={2**64 + int(whole)}",
        ]
    )
    words = rng.choice([_TRAIN, _RUN])
    if given.startswith("seeds"):
        words = _RUN
    if given.startswith("network") and rng.random() < 0.3:
        words = [*words, "--method" if words is _TRAIN else "--methods", rng.choice(["ceb", "aib"])]
    mutation = _short(words[0], given, [*words, "--set", given])
    mutation.seconds, mutation.refused, mutation.may_be_interrupted = 5.0, True, False
    if given.startswith("first_seed") and words is _TRAIN:  # its --seed goes over it
        mutation.words = [*_TRAIN, "--seed", given.partition("=")[2]]
    return mutation


KINDS = {"set": set_, "toml": toml, "option": option, "huge": huge}
