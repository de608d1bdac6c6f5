"""What there is to train with, told by the classes themselves: by their docstrings, and by trying.

Each method is tried on small networks, the plainest first; what the first that it works on has, and
those before it lack, is what the method needs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, get_args

import torch
from torch import nn

from narrows.errors import ConfigError, InputError
from narrows.methods import METHODS, Method, Sizes
from narrows.methods.adversarial import WRAPPERS, Adversarial
from narrows.models import BinaryStochasticNet, Bottleneck
from narrows.models.gaussian import LatentKind, code_width
from narrows.training import Objective, Stacked

__all__ = ["Entry", "catalogue"]

_SIZES = Sizes(inputs=6, latent=4, classes=3, hidden=(5, 4))
# Authors, year, and where it can be found, past the title if there is one.
_CITATION = re.compile(
    r'Source: ([^()]+) (\(\d{4}\))(?:, "[^"]+")?(?:, (arXiv \d{4}\.\d{4,5}|[A-Z]+ \d+))?'
)


class Entry(NamedTuple):
    """One method, or one form of adversarial training.

    Attributes:
        name: as configurations call it.
        what: one sentence.
        source: authors, year, and where.
        needs: what a network must have, and what is trained beside it; empty for any classifier.
        stackable: whether many of them train in one vectorised step.
        betas: the grid of a sweep that names none; empty where there is no beta.
    """

    name: str
    what: str
    source: str
    needs: tuple[str, ...]
    stackable: bool
    betas: tuple[float, ...]


def catalogue() -> list[Entry]:
    """Every method, then everything that wraps one, in the order of their registries."""
    with torch.random.fork_rng([]):
        methods = [_entry(name, kind) for name, kind in METHODS.items()]
        return methods + [_wrapper_entry(name, kind) for name, kind in WRAPPERS.items()]


def _entry(name: str, kind: type[Method]) -> Entry:
    betas = () if kind.default_betas == (0.0,) else kind.default_betas

    def build() -> Method:
        return kind.build(kind.default_betas[0], _SIZES)

    for needed, make in _networks(kind):
        if _works(build(), make()):
            critic = ("critic",) if build().critic_steps else ()
            stackable = _stackable(build, make)
            return Entry(name, _claim(kind), _source(kind), needed + critic, stackable, betas)
    return Entry(name, _claim(kind), _source(kind), ("a network of its own",), False, betas)


def _wrapper_entry(name: str, kind: type[Adversarial]) -> Entry:
    def build() -> Method:
        return kind(METHODS["cross_entropy"](), steps=1)

    stackable = _stackable(build, lambda: nn.Linear(_SIZES.inputs, _SIZES.classes))
    return Entry(name, _claim(kind), _source(kind), ("a method", "images"), stackable, ())


def _networks(
    kind: type[Method],
) -> Iterator[tuple[tuple[str, ...], Callable[[], nn.Module]]]:
    """What a network has, and how to make one, the plainest first."""
    inputs, latent, classes, hidden = _SIZES
    wide = hidden[0]
    yield (), lambda: nn.Linear(inputs, classes)
    layers = lambda: (nn.Linear(inputs, wide), nn.ReLU(), nn.Linear(wide, classes))
    yield ("hidden layers",), lambda: nn.Sequential(*layers())
    if kind.latent in get_args(LatentKind):
        code = code_width(kind.latent, latent)
        bottleneck = lambda: Bottleneck(
            nn.Linear(inputs, code), nn.Linear(latent, classes), latent=kind.latent
        )
        yield (f"{kind.latent} latent",), bottleneck
    binary = lambda: BinaryStochasticNet(inputs, hidden, classes)
    yield ("binary stochastic layers",), binary


def _works(method: Method, model: nn.Module) -> bool:
    try:
        method(model, *_batch())
    except InputError:
        return False
    return True


def _stackable(build: Callable[[], Method], make: Callable[[], nn.Module]) -> bool:
    x, y = (torch.stack([part, part]) for part in _batch())
    try:
        stack = Stacked([Objective(make(), build()) for _ in range(2)], [0, 1])
        stack.run("terms", stack.run("observe", x, y), x, y)
    except (ConfigError, RuntimeError):
        return False
    return True


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    count = 4
    return torch.rand(count, _SIZES.inputs), torch.arange(count) % _SIZES.classes


def _claim(kind: type[nn.Module]) -> str:
    return (inspect.getdoc(kind) or kind.__name__).splitlines()[0].rstrip(".")


def _source(kind: type[nn.Module]) -> str:
    text = inspect.getdoc(kind) or ""
    found = _CITATION.search(" ".join(text.split()))
    if not found:
        return "-"
    authors = re.split(", | & ", found.group(1))
    short = f"{authors[0]} et al." if len(authors) > 2 else found.group(1)
    return ", ".join(filter(None, (f"{short} {found.group(2)}", found.group(3))))
