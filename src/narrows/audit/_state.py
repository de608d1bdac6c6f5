"""What a model remembers: parameters, buffers, and plain Python attributes of its modules.

A query counter, a memory of earlier images or statistics of the last batch make a model another one
for each attack. `State` keeps a copy, names what has changed since, and puts it back.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Mapping, Set, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["State"]

# Random generators are noise and not memory: put back, every draw would be the same.
_GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_DEEPEST = 8


class State:
    """A copy of what a model remembers.

    State outside the module, such as a global variable or a closure, cannot be seen here.

    Example:
        >>> class Counting(nn.Module):
        ...     calls = 0
        ...     def forward(self, x):
        ...         self.calls += 1
        ...         return x
        >>> model = Counting()
        >>> state, _ = State(model), model(torch.ones(1))
        >>> state.changed(), state.restore(), model.calls
        (['calls'], None, 0)
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._tensors = {name: value.clone() for name, value in _tensors(model).items()}
        self._attributes: dict[str, Any] = {}
        self._uncopied: set[str] = set()
        for name, value in _attributes(model).items():
            try:
                self._attributes[name] = copy.deepcopy(value)
            except Exception:  # locks, open files and graphs can be neither copied nor put back
                self._uncopied.add(name)

    def changed(self) -> list[str]:
        """Names of what is no longer as it was copied."""
        return self.changed_tensors() + self._changed_attributes()

    def changed_tensors(self) -> list[str]:
        """Names of the parameters and buffers that are no longer as they were copied."""
        now = _tensors(self._model)
        before = self._tensors.items()
        return [name for name, value in before if name in now and not _same(value, now[name])]

    def _changed_attributes(self) -> list[str]:
        now, before = _attributes(self._model), self._attributes
        return [
            name
            for name, value in now.items()
            if name not in self._uncopied and not (name in before and _same(before[name], value))
        ]

    def restore(self) -> None:
        """Put everything that has changed back."""
        now = _tensors(self._model)
        with torch.no_grad():
            for name in self.changed_tensors():
                now[name].copy_(self._tensors[name])
        modules = dict(self._model.named_modules())
        for name in self._changed_attributes():
            owner, _, key = name.rpartition(".")
            if name in self._attributes:
                setattr(modules[owner], key, copy.deepcopy(self._attributes[name]))
            else:
                delattr(modules[owner], key)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: part for name, part in model.state_dict().items() if isinstance(part, Tensor)}


def _attributes(model: nn.Module) -> dict[str, Any]:
    """Attributes of all modules by full name, without those that every module has."""
    return {
        f"{owner}.{key}" if owner else key: value
        for owner, module in model.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)  # whose state is in its tensors
        for key, value in vars(module).items()
        if key not in _OF_EVERY_MODULE and not isinstance(value, _GENERATORS)
    }


def _same(first: Any, second: Any, depth: int = 0) -> bool:
    """Whether two values are equal; what cannot be compared counts as equal."""
    if first is second or depth > _DEEPEST or isinstance(first, _GENERATORS):
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, Tensor):
        return _same_tensors(first, second)
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second, equal_nan=first.dtype.kind in "fc")
    if isinstance(first, str | bytes | int | float | complex | Set):
        return bool(first == second or (first != first and second != second))
    return _same_parts(_parts(first), _parts(second), depth)


def _parts(value: Any) -> Mapping[Any, Any]:
    """What a container or an object consists of; nothing for what cannot be looked into."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, nn.Module) or (hasattr(value, "__dict__") and not callable(value)):
        return vars(value)
    if isinstance(value, Iterable) and isinstance(value, Sized):
        return dict(enumerate(value))
    return {}


def _same_parts(first: Mapping[Any, Any], second: Mapping[Any, Any], depth: int) -> bool:
    return first.keys() == second.keys() and all(
        _same(value, second[key], depth + 1) for key, value in first.items()
    )


def _same_tensors(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    same = first == second
    if first.is_floating_point() or first.is_complex():
        same = same | ((first != first) & (second != second))  # NaN in both
    return bool(same.all())
