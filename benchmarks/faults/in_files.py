"""Mutations of the files of a run: records, records signed again, tensors, other things in place.

| kind     | what is damaged                                                   | has to be |
|----------|-------------------------------------------------------------------|-----------|
| record   | any JSON or JSONL file, by bytes or in its form, checksums kept   | noticed   |
| sealed   | the same in its form, with every checksum computed anew           | one line  |
| tensor   | any safetensors file, by bytes                                    | noticed   |
| resigned | its tensors or its JSON header, with the digest computed anew     | one line  |
| place    | a folder, a link, a pipe or another file in the place of a file   | noticed   |

Noticed is what is refused, or changes nothing of what is printed and drawn.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from ground import Command, available
from mutation import Mutation, intact
from seals import replace, reseal, reseal_record, seal_of
from values import SENTINEL, damage_bytes, damage_json, dump, json_value

from narrows.storage import load_tensors, save_tensors

__all__ = ["KINDS", "Payload", "reformed"]


def _command(rng: Random, ground: Path) -> Command:
    readers = [command for command in available(ground) if command.weight]
    return rng.choices(readers, [command.weight for command in readers])[0]


def _files(ground: Path, command: Command, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(
        path.relative_to(ground)
        for name in command.needs
        for path in (ground / name).rglob("*")
        if path.suffix in suffixes
    )


def _mutation(
    command: Command, ground: Path, text: str, prepare: Callable[[Path], None], same: bool
) -> Mutation:
    return Mutation(
        command.name,
        text,
        command.line(ground),
        needs=command.needs,
        prepare=prepare,
        seconds=60.0,
        waiting=300.0,
        unchanged=command if same else None,
    )


def _with_files(rng: Random, ground: Path, suffixes: tuple[str, ...]) -> tuple[Command, Path]:
    """A command and a file that it could read; of JSON files mostly one that it does read."""
    while True:
        command = _command(rng, ground)
        files = _files(ground, command, suffixes)
        if ".json" in suffixes and rng.random() < 0.9:
            reads = intact(command, ground, Path(tempfile.gettempdir(), "here")).reads
            files = [Path(name) for name in reads] or files
        if files:
            return command, rng.choice(files)


def record(rng: Random, ground: Path) -> Mutation:
    command, file = _with_files(rng, ground, (".json", ".jsonl"))
    content = (ground / file).read_bytes()
    if rng.random() < 0.5:
        what, damaged = damage_bytes(rng, content)
    else:
        what, damaged = reformed(rng, file, content, signed=False)
    return _mutation(
        command, ground, f"{file} {what}", lambda folder: replace(folder / file, damaged), True
    )


def sealed(rng: Random, ground: Path) -> Mutation:
    command, file = _with_files(rng, ground, (".json", ".jsonl"))
    content = (ground / file).read_bytes()
    what, damaged = reformed(rng, file, content, signed=True)

    def prepare(folder: Path) -> None:
        replace(folder / file, damaged)
        reseal(folder / file.parts[0], folder / file, content)

    return _mutation(command, ground, f"{file} {what}, signed", prepare, False)


def reformed(rng: Random, file: Path, content: bytes, signed: bool) -> tuple[str, bytes]:
    """Damage to the form of a record; of one line, where it has many."""

    def reform(text: str) -> tuple[str, str]:
        before = json.loads(text)
        part = seal.part if signed and (seal := seal_of(before)) else None
        if part is not None and rng.random() < 0.85:  # within the envelope
            what, inner = damage_json(rng, before[part])
            after = {**before, part: inner}
        else:
            what, after = damage_json(rng, before)
        if not signed:
            return what, dump(after)
        return what, dump(reseal_record(before, _as_read(after)))

    if file.suffix == ".json":
        what, text = reform(content.decode())
        return what, text.encode()
    lines = content.decode().splitlines()
    place = rng.randrange(len(lines))
    what, lines[place] = reform(lines[place])
    return f"line {place + 1}: {what}", "".join(f"{line}\n" for line in lines).encode()


def _as_read(value: Any) -> Any:
    """What a reader makes of the tokens that Python would not write."""
    return json.loads(dump(value), parse_int=_number)


def tensor(rng: Random, ground: Path) -> Mutation:
    command, file = _with_files(rng, ground, (".safetensors",))
    content = (ground / file).read_bytes()
    what, damaged = _header(rng, content) if rng.random() < 0.4 else damage_bytes(rng, content)
    return _mutation(
        command, ground, f"{file} {what}", lambda folder: replace(folder / file, damaged), True
    )


def _header(rng: Random, content: bytes) -> tuple[str, bytes]:
    """Damage to the header of the format: its length or its JSON."""
    (size,) = struct.unpack("<Q", content[:8])
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    if rng.random() < 0.3:
        length = rng.choice([0, 1, size - 1, size + 1, 2**31, 2**62, 2**64 - 1])
        return f"header of {length} bytes", struct.pack("<Q", length) + content[8:]
    what, header = damage_json(rng, header)
    text = dump(header).encode()
    return f"header {what}", struct.pack("<Q", len(text)) + text + rest


def resigned(rng: Random, ground: Path) -> Mutation:
    command, file = _with_files(rng, ground, (".safetensors",))
    tensors, header = load_tensors(ground / file)
    if rng.random() < 0.5:
        what, header = damage_json(rng, header)
        header = _as_read(header)
    else:
        what = _damage_tensors(rng, tensors)
    before = (ground / file).read_bytes()

    def prepare(folder: Path) -> None:
        (folder / file).unlink()
        save_tensors(folder / file, tensors, header)
        reseal(folder / file.parts[0], folder / file, before)

    return _mutation(command, ground, f"{file} {what}, signed", prepare, False)


def _number(text: str) -> Any:
    return int(text) if len(text) < 4000 else float("inf")


def _damage_tensors(rng: Random, tensors: dict[str, torch.Tensor]) -> str:
    name = rng.choice(sorted(tensors)) if tensors else "x"
    value = tensors.get(name, torch.zeros(1))
    changes: dict[str, Callable[[], torch.Tensor | None]] = {
        "left out": lambda: None,
        "flattened": lambda: value.reshape(-1),
        "with an axis more": lambda: value[None],
        "without rows": lambda: value[:0] if value.dim() else value.reshape(1)[:0],
        "half of its rows": lambda: value[: max(1, len(value) // 2)] if value.dim() else value,
        "twice": lambda: torch.cat([value, value]) if value.dim() else value.repeat(2),
        "a scalar": lambda: value.reshape(-1)[:1].reshape(()) if value.numel() else None,
        "in float64": lambda: value.double(),
        "in float16": lambda: value.half(),
        "in int64": lambda: value.nan_to_num().clamp(-(2**60), 2**60).long(),
        "in bool": lambda: value.bool(),
        "NaN": lambda: torch.full_like(value.float(), float("nan")),
        "infinite": lambda: torch.full_like(value.float(), float("inf")),
        "-1": lambda: torch.full_like(value, -1) if value.dtype != torch.uint8 else value + 1,
        "huge": lambda: torch.full_like(value.double(), 1e30),
        "zero": lambda: torch.zeros_like(value),
    }
    change = rng.choice([*changes, "renamed", "all left out", "one added"])
    if change == "renamed":
        tensors[rng.choice(["", "x", f"{name}.x"])] = tensors.pop(name, value)
    elif change == "all left out":
        tensors.clear()
    elif change == "one added":
        tensors["new"] = torch.zeros(rng.choice([0, 1, 7]))
    else:
        damaged = changes[change]()
        tensors.pop(name, None)
        if damaged is not None:
            tensors[name] = damaged.contiguous()
    return f"tensor {name} {change}"


class Payload:
    """Unpickling it creates the sentinel."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {SENTINEL}",)


def place(rng: Random, ground: Path) -> Mutation:
    command, file = _with_files(rng, ground, (".json", ".jsonl", ".safetensors"))
    others = [other for other in _files(ground, command, (file.suffix,)) if other != file]
    other = rng.choice(others or [file])
    things: dict[str, Callable[[Path], object]] = {
        "is not there": lambda path: None,
        "is a folder": lambda path: path.mkdir(),
        "is a link to nothing": lambda path: path.symlink_to("nowhere"),
        "is a link to itself": lambda path: path.symlink_to(path.name),
        "is a link to /dev/null": lambda path: path.symlink_to("/dev/null"),
        "is a pipe": os.mkfifo,
        "is a pickle": lambda path: path.write_bytes(pickle.dumps(Payload())),
        "is a file of torch.save": lambda path: torch.save({"state": Payload()}, path),
        f"is {other}": lambda path: path.write_bytes((ground / other).read_bytes()),
        "is JSON of its own kind": lambda path: path.write_text(dump(json_value(rng))),
        "has a folder that is a file": _folder_as_file,
        "has no folder": lambda path: path.parent.rename(path.parent.with_name("moved")),
    }
    # A reader that waits for a pipe costs seconds.
    what = rng.choices(list(things), [0.2 if "pipe" in thing else 1 for thing in things])[0]

    def prepare(folder: Path) -> None:
        (folder / file).unlink()
        things[what](folder / file)

    gone = what in ("is not there", "has no folder", "has a folder that is a file")
    # Another plane in the place of one is what the user then has asked for.
    asked = file.parts[0] == "planes" and what.startswith("is planes")
    mutation = _mutation(command, ground, f"{file} {what}", prepare, not gone and not asked)
    if what == "is a pipe":
        mutation.waiting = 4.0
    return mutation


def _folder_as_file(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.write_text("")


KINDS = {
    "record": record,
    "sealed": sealed,
    "tensor": tensor,
    "resigned": resigned,
    "place": place,
}
