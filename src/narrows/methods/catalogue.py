"""The catalogue of the methods, as `narrows methods` prints it: what each class says of itself."""

from __future__ import annotations

import inspect
from typing import NamedTuple

from narrows.methods import METHODS, Method
from narrows.methods.adversarial import WRAPPERS

__all__ = ["Entry", "catalogue"]


class Entry(NamedTuple):
    """One method, or one form of adversarial training.

    Attributes:
        name: as configurations call it.
        claim: one sentence, the first line of the class's docstring.
        source: authors, year, and where it was published.
        needs: what a network must have, in words.
        randomness: what the loss draws at random in training; empty for nothing.
        stackable: whether many models of it train in one vectorised step.
        betas: the grid of a sweep that names none; empty where there is no beta.
    """

    name: str
    claim: str
    source: str
    needs: str
    randomness: str
    stackable: bool
    betas: tuple[float, ...]


def catalogue() -> list[Entry]:
    """Every method, then every form of adversarial training, in the order of their registries.

    Example:
        >>> [entry.needs for entry in catalogue() if entry.name == "vib"]
        ['a Gaussian latent']
    """
    return [_entry(name, kind) for name, kind in {**METHODS, **WRAPPERS}.items()]


def _entry(name: str, kind: type[Method]) -> Entry:
    claim = (inspect.getdoc(kind) or "").partition("\n")[0].rstrip(".")
    return Entry(
        name,
        claim,
        kind.source,
        kind.needs,
        kind.randomness,
        kind.stackable,
        kind.default_betas,
    )
