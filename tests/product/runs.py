"""The runs that commands are tried on, each made once: `shelf.get(name, RUNS[name])`."""

import importlib
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from product.cases import SMALLEST
from product.walk import TINY, narrows, run, settings, succeed, watched

__all__ = ["DEFENCE", "OLDER", "RUNS", "WORDS"]

OLDER = Path(__file__).parent / "older.zip"
"""A run of the finished kind, without its page, as an earlier version has left it."""

DEFENCE = '''
import math
import torch

def build(shape, classes):
    """A small network for such inputs."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(math.prod(shape), 8),
                               torch.nn.ReLU(), torch.nn.Linear(8, classes))

def net():
    """A classifier of the images by the nearest mean of a class."""
    from narrows.data import load
    train = load("digits").train.all()
    means = torch.stack([train.x[train.y == c].flatten(1).mean(0) for c in range(10)])
    layer = torch.nn.Linear(means.shape[1], 10)
    layer.weight.data, layer.bias.data = 2 * means, -means.square().sum(1)
    return torch.nn.Sequential(torch.nn.Flatten(), layer)
'''

# Two units of code, so that vib-2 can be drawn; three betas, so that there can be a knee.
_CODES = "network.encoder=[8] network.bottleneck=2 network.decoder=[8] options.aib.hidden=[8,8]"
_KINDS = ["--methods", "cross_entropy,vib,aib", *settings(_CODES)]
_LAYERS = settings(SMALLEST["binary"])
WORDS = {
    "finished":     [*TINY, *_KINDS, "--betas", "0.01,0.1,1"],
    "audited":      [*TINY, *_KINDS, "--betas", "0.01,0.1,1"],
    "unfinished":   [*TINY, *_KINDS, "--betas", "0.01,0.1,1"],
    "diverged":     [*TINY, *_KINDS, "--betas", "0.01,0.1,1e38"],
    "all-diverged": [*TINY, *_KINDS, "--betas", "1e38"],
    "twelve-bit":   [*TINY, *_KINDS, "--betas", "0.1,1", "--seeds", "1", "--data", "twelve-bit"],
    "binary":       [*TINY, "--methods", "sfnn", "--network", "binary", *_LAYERS],
}  # fmt: skip


def _made(name: str) -> Callable[[Path], Path]:
    return lambda home: run(home, *WORDS[name])


def _audited(home: Path) -> Path:
    folder = run(home, *WORDS["audited"])
    few = ["--method", "vib", "--eps", "0.1", "--images", "10"]
    succeed("attack", folder, *few, "--attack", "fgsm", "--out", folder / "attacks" / "fgsm")
    narrows("audit", folder, *few, "--budget", "fast", "--out", folder / "audits" / "vib")
    succeed("reevaluate", folder, "--methods", "vib", "--betas", "0.1", "--images", "5", "--quiet")
    succeed("figure", "vib-1", folder, "--quiet")
    succeed("plane", folder, "--samples", "50")
    return folder


def _unfinished(home: Path) -> Path:
    with watched() as steps:
        run(home / "whole", *WORDS["unfinished"])
    with watched(break_at=steps.count // 2):
        assert narrows("run", "--out", home / "part", *WORDS["unfinished"]).code == 130
    (folder,) = (home / "part").iterdir()
    return folder


def _all_diverged(home: Path) -> Path:
    assert narrows("run", "--out", home, *WORDS["all-diverged"]).code == 2
    (folder,) = home.iterdir()
    return folder


def _pair(home: Path) -> Path:
    shutil.copytree(run(home, *WORDS["finished"]), home / "other")
    return home


def _older(home: Path) -> Path:
    with zipfile.ZipFile(OLDER) as archive:
        archive.extractall(home)
    (folder,) = home.iterdir()
    return folder


def imb_plane() -> Callable[..., None]:
    """The program of IMB's information plane, as the reproduction names it: a function of words."""
    page = (Path(__file__).parents[2] / "docs" / "reproduction.md").read_text()
    (module,) = set(re.findall(r"python -m (narrows\.papers\.imb)", page))
    command = importlib.import_module(module).main
    return lambda *words: command.main([str(word) for word in words], standalone_mode=False)


def _imb_plane(home: Path) -> Path:
    imb_plane()("--epochs", "2", "--seeds", "2", "--out", home)
    (folder,) = home.iterdir()
    return folder


def _experiment(folder: str, *tables: str) -> Callable[[Path], Path]:
    def made(home: Path) -> Path:
        succeed("reproduce", *tables, "--scale", "smoke", "--out", home, "--quiet")
        return home / folder

    return made


RUNS: dict[str, Callable[[Path], Path]] = {
    **{name: _made(name) for name in ("finished", "diverged", "twelve-bit", "binary")},
    "audited": _audited,
    "pair": _pair,
    "unfinished": _unfinished,
    "all-diverged": _all_diverged,
    "older": _older,
    "imb-plane": _imb_plane,
    "ib-rar-plane": _experiment("planes/smoke/ib-rar-plane", "ib-rar-figure5"),
    "toys": _experiment("toys/smoke", "reevaluation-figure5", "reevaluation-figure7"),
}
