"""Mutations of data files, of files given to readers, of images and labels, and of models.

| kind   | what is changed                                               | has to be              |
|--------|---------------------------------------------------------------|------------------------|
| data   | the files that NARROWS_DATA names, or what it names           | one line               |
| reader | idx, CIFAR, MATLAB, plane and tensor files, a run's folder    | NarrowsError, or right |
| images | images, labels and settings of an attack                      | NarrowsError, or right |
| model  | the module that `file.py:function` returns                    | one line, or done      |

Readers and attacks are called in Python, the others by the command line.
"""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from in_files import Payload
from mutation import Mutation
from strange import BODIES, FUNCTIONS, source
from values import damage_bytes, json_value, text_value

import narrows
from narrows.attacks import ATTACKS, Ledger
from narrows.data.cifar import parse_cifar
from narrows.data.idx import read_idx
from narrows.data.matlab import parse_mat
from narrows.information import load_plane
from narrows.storage import load_tensors

__all__ = ["KINDS"]

_FILES = {
    "mnist": [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte",
    ],
    "fashion-mnist": ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"],
    "cifar10": ["cifar-10-batches-bin/data_batch_1.bin", "cifar10/cifar-10-binary.tar.gz"],
    "cifar100": ["cifar-100-binary/train.bin", "cifar100/cifar-100-binary.tar.gz"],
    "svhn": ["svhn/train_32x32.mat", "svhn/test_32x32.mat"],
    "tiny-imagenet": ["tiny-imagenet/tiny-imagenet-200.zip", "tiny-imagenet-200/wnids.txt"],
}


def _idx(rng: Random) -> bytes:
    sizes = [rng.choice([0, 1, 2, 5, 28, 2**16, 2**32 - 1]) for _ in range(rng.randint(0, 4))]
    kind = rng.choice([8, 8, 8, 9, 0xB, 0xC, 0xD, 0xE, 0])
    header = bytes([0, 0, kind, rng.choice([len(sizes), len(sizes), 0, 255])])
    return header + struct.pack(f">{len(sizes)}I", *sizes) + bytes(rng.choice([0, 1, 4, 100]))


def _tar(rng: Random) -> bytes:
    """A tar archive with members that nobody should follow."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("cifar-10-batches-bin/data_batch_1.bin", "../up.bin", "/absolute.bin"):
            member = tarfile.TarInfo(name)
            kinds = [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE]
            member.type = rng.choice([*kinds, tarfile.FIFOTYPE, tarfile.CHRTYPE])
            member.linkname = rng.choice(["nowhere", "/etc/passwd", name, ""])
            content = bytes(rng.choice([0, 10, 3073]))
            member.size = len(content) if member.type == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _content(rng: Random) -> tuple[str, bytes]:
    draw = rng.random()
    if draw < 0.3:
        content = _idx(rng)
        return f"idx {content[:20].hex()}", rng.choice([content, gzip.compress(content)])
    if draw < 0.45:
        return "a tar archive", _tar(rng)
    if draw < 0.55:
        return "a pickle", pickle.dumps(Payload())
    if draw < 0.65:
        return "64 MB of zeros, compressed", gzip.compress(bytes(2**26), 1)
    return damage_bytes(rng, gzip.compress(_idx(rng)))


def data(rng: Random, ground: Path) -> Mutation:
    name = rng.choice(list(_FILES))
    file = rng.choice(_FILES[name])
    text, content = _content(rng)
    things: dict[str, Callable[[Path], object]] = {
        f"is {text}": lambda path: path.write_bytes(content),
        "is a folder": lambda path: path.mkdir(),
        "is a link to nothing": lambda path: path.symlink_to("nowhere"),
        "is a link to itself": lambda path: path.symlink_to(path.name),
        "is 8 GB of nothing": lambda path: (path.touch(), os.truncate(path, 2**33)),
        "is a pipe": os.mkfifo,
    }
    weights = [6, 1, 1, 1, 0.3, 0.5]
    what = rng.choices(list(things), weights)[0]
    where = rng.choice(["data", "data", "data", "~nobodyx", "x" * 5000, "", "é", "a\nb", "net.py"])
    places = [Path(file), Path(name) / Path(file).name]

    def prepare(folder: Path) -> None:
        for place in places:
            (folder / "data" / place).parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(folder / "data" / place):
                things[what](folder / "data" / place)

    target = ["attack", "net.py:net", "--attack", "fgsm", "--eps", "0.1"]
    train = ["train", "--method", "vib", "--beta", "0.1"]
    words = [*rng.choice([target, train, ["run"]]), "--data", name]
    shown = f"{file} {what}" if where == "data" else f"NARROWS_DATA={where[:30]!r}"
    return Mutation(
        words[0],
        f"{name}: {shown}",
        words,
        prepare=prepare,
        waiting=10.0,
        refused=True,
        environment={"NARROWS_DATA": where},
    )


def reader(rng: Random, ground: Path) -> Mutation:
    name = rng.choice(["idx", "cifar", "mat", "plane", "ledger", "tensors", "member"])
    if name == "member":
        return _member(rng, ground)
    content = _intact_file(rng, name, ground)
    what, damaged = damage_bytes(rng, content) if rng.random() < 0.8 else ("is as it was", content)
    labels = rng.choice([1, 2])
    x, y = torch.rand(6, 1, 8, 8), torch.zeros(6, dtype=torch.int64)
    readers: dict[str, Callable[[], object]] = {
        "idx": lambda: read_idx("file"),
        "cifar": lambda: parse_cifar(damaged, "file", labels),
        "mat": lambda: parse_mat(damaged, "file"),
        "plane": lambda: load_plane("file"),
        "ledger": lambda: Ledger.load(Path("file"), x, y),
        "tensors": lambda: load_tensors(Path("file")),
    }
    return Mutation(
        f"reader of {name}",
        what,
        call=readers[name],
        prepare=lambda folder: (folder / "file").write_bytes(damaged),
    )


def _intact_file(rng: Random, name: str, ground: Path) -> bytes:
    if name == "mat":
        from scipy.io import savemat

        buffer = io.BytesIO()
        arrays = {"X": np.zeros((3, 2, 3, 4), np.uint8), "y": np.ones((4, 1))}
        savemat(buffer, arrays, do_compression=rng.random() < 0.5)
        return buffer.getvalue()
    if name == "plane":
        return (ground / "planes" / "seed0.json").read_bytes()
    if name in ("ledger", "tensors"):
        return (ground / "attack" / "ledger.safetensors").read_bytes()
    return _idx(rng) if name == "idx" else bytes(3073 * 2)


def _member(rng: Random, ground: Path) -> Mutation:
    given = {
        key: rng.choice([None, text_value(rng), json_value(rng), value])
        for key, value in (("method", "vib"), ("beta", 0.1), ("seed", 0))
    }
    (folder,) = (path.name for path in (ground / "single").iterdir())
    path = rng.choice([f"single/{folder}", f"single/{folder}", text_value(rng)])
    return Mutation(
        "load_member",
        f"{path[:40]!r} {str(given)[:200]}",
        call=lambda: narrows.load_member(path, **given),
        needs=("single",),
    )


_SMALL = {"steps": 2, "restarts": 1, "queries": 4, "searches": 2, "eps": 0.1, "verify_draws": 2}


def _net() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))


def _images(rng: Random, x: torch.Tensor) -> dict[str, Callable[[], Any]]:
    def with_value(value: float) -> torch.Tensor:
        return x.index_put((torch.tensor([1]), torch.tensor([0])), torch.tensor(value))

    return {
        "x right": lambda: x,
        "x as NumPy": x.numpy,
        "x as lists": x.tolist,
        "x in float64": x.double,
        "x in float16": x.half,
        "x in bfloat16": x.bfloat16,
        "x in uint8": lambda: (255 * x).to(torch.uint8),
        "x in int64": x.long,
        "x in bool": x.bool,
        "x complex": lambda: x.to(torch.complex64),
        "x in 0-255": lambda: 255 * x,
        "x with NaN": lambda: with_value(float("nan")),
        "x with inf": lambda: with_value(float("inf")),
        "x below 0": lambda: with_value(-0.01),
        "x above 1": lambda: with_value(1.0001),
        "x empty": lambda: x[:0],
        "x one image": lambda: x[:1],
        "x without batch": lambda: x[0],
        "x a vector": lambda: x.flatten()[:4],
        "x a scalar": lambda: x[0, 0, 0, 0],
        "x without pixels": lambda: x[:, :, :0],
        "x an axis more": lambda: x[:, :, :, :, None],
        "x flat": lambda: x.flatten(1),
        "x too small": lambda: x[..., :2],
        "x expanded": lambda: x[:1].expand(4, -1, -1, -1),
        "x strided": lambda: x.transpose(2, 3),
        "x with gradient": lambda: x.clone().requires_grad_(),
        "x constant": lambda: torch.zeros_like(x),
        "x meta": lambda: x.to("meta"),
        "x sparse": x.to_sparse,
        "x a parameter": lambda: torch.nn.Parameter(x),
        "x in inference mode": lambda: _inference(x),
        "x any": lambda: json_value(rng),
    }


def _inference(x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return x.clone()


def _labels(rng: Random, y: torch.Tensor) -> dict[str, Callable[[], Any]]:
    return {
        "y right": lambda: y,
        "y as NumPy": y.numpy,
        "y as a list": y.tolist,
        "y in int32": y.int,
        "y in uint8": lambda: y.to(torch.uint8),
        "y in int16": y.short,
        "y in float": y.float,
        "y in bool": y.bool,
        "y one-hot": lambda: torch.nn.functional.one_hot(y, 3),
        "y a column": lambda: y[:, None],
        "y a scalar": lambda: y[0],
        "y too short": lambda: y[:2],
        "y too long": lambda: torch.cat([y, y]),
        "y -1": lambda: y - 1,
        "y -100": lambda: torch.full_like(y, -100),
        "y too large": lambda: y + 3,
        "y 2**40": lambda: torch.full_like(y, 2**40),
        "y empty": lambda: y[:0],
        "y meta": lambda: y.to("meta"),
        "y any": lambda: json_value(rng),
    }


def images(rng: Random, ground: Path) -> Mutation:
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    x = torch.rand(4, 1, 4, 4, generator=generator)
    y = torch.randint(0, 3, (4,), generator=generator)
    given, wanted = _images(rng, x), _labels(rng, y)
    draw = rng.random()
    first = rng.choice(list(given)) if draw < 0.5 else "x right"
    second = rng.choice(list(wanted)) if draw > 0.35 else "y right"
    name = rng.choice([name for name in ATTACKS if name not in ("backend", "adaptive")])
    own = {one.name for one in fields(ATTACKS[name])}
    settings: dict[str, Any] = {key: value for key, value in _SMALL.items() if key in own}
    if rng.random() < 0.4:
        key = rng.choice(sorted(own))
        settings[key] = rng.choice(
            [json_value(rng), text_value(rng), 0, -1, 2.5, True, float("nan")]
        )
    images, labels = given[first](), wanted[second]()

    def call() -> None:
        attack = ATTACKS[name](**settings)
        check_result(attack(_net(), images, labels), images)

    changed = {key: value for key, value in settings.items() if value != _SMALL.get(key)}
    text = f"{first}, {second}, {str(changed)[:200]}"
    return Mutation(f"attack {name}", text, call=call, seconds=2.0, may_be_interrupted=True)


def check_result(result: Any, images: Any) -> None:
    """What holds of every result of an attack, whatever it was given."""
    x = torch.as_tensor(images)
    assert result.x_adv.shape == x.shape, "x_adv has another shape than the images"
    assert result.x_adv.isfinite().all(), "x_adv is not finite"
    assert torch.equal(result.x_adv, result.x_adv.clamp(0, 1)), "x_adv leaves [0, 1]"
    assert result.success.dtype == torch.bool, "success is no bool"
    assert len(result.success) == len(result.distance) == len(x), "a result for each image"
    assert not result.distance.isnan().any(), "a distance is NaN"


def model(rng: Random, ground: Path) -> Mutation:
    name = rng.choice([*BODIES, *FUNCTIONS])
    text = source(BODIES[name]) if name in BODIES else f"import torch\n{FUNCTIONS[name]}\n"
    few = ["--data", "digits", "--images", rng.choice(["1", "3", "5"])]
    attack = ["attack", "strange.py:net", *few, "--eps", "0.1", "--set", "draws=2", "--set"]
    attack += ["verify_draws=2", "--attack", rng.choice(["fgsm", "pgd", "square", "fab", "apgd"])]
    audit = ["audit", "strange.py:net", *few, "--eps", "0.1", "--budget", "fast"]
    words = rng.choices([attack, audit], [4, 1])[0]
    return Mutation(
        words[0],
        f"the model {name}",
        words,
        prepare=lambda folder: (folder / "strange.py").write_text(text),
        seconds=2.0,
        may_be_interrupted=True,
    )


KINDS = {"data": data, "reader": reader, "images": images, "model": model}
