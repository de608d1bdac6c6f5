"""State is copied, compared and put back, whatever it is kept in."""

from collections import deque
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pytest
import torch
from torch import nn

from narrows.audit._state import State


@dataclass
class Memory:
    seen: int = 0


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.BatchNorm1d(2)
        self.number, self.nothing = 1, float("nan")
        self.rows, self.table = [torch.zeros(2)], {"a": np.zeros(2)}
        self.memory, self.queue, self.names = Memory(), deque([1]), {"x"}
        self.hidden = [nn.Linear(2, 2)]
        self.generator, self.lock, self.rule = torch.Generator(), Lock(), abs


CHANGES = {
    "number": lambda module: setattr(module, "number", 2),
    "rows": lambda module: module.rows.append(torch.ones(2)),
    "rows ": lambda module: module.rows[0].add_(1),
    "table": lambda module: module.table.update(a=np.ones(2)),
    "memory": lambda module: setattr(module.memory, "seen", 1),
    "queue": lambda module: module.queue.append(2),
    "names": lambda module: module.names.add("y"),
    "hidden": lambda module: nn.init.ones_(module.hidden[0].weight),
    "inner.running_mean": lambda module: module.inner.running_mean.add_(1),
    "inner.weight": lambda module: module.inner.weight.data.mul_(2),
    "inner.momentum": lambda module: setattr(module.inner, "momentum", 0.5),
    "late": lambda module: setattr(module, "late", 3),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named_and_put_back(name):
    module = Module()
    state = State(module)
    assert state.changed() == []
    CHANGES[name](module)
    assert state.changed() == [name.strip()]
    state.restore()
    assert state.changed() == []
    CHANGES[name](module)  # the copy itself is untouched
    assert state.changed() == [name.strip()]


def test_generators_locks_and_functions_are_no_memory():
    module = Module()
    state = State(module)
    torch.rand(3, generator=module.generator)
    module.lock.acquire()
    assert state.changed() == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_modules_keep_their_state_in_tensors():
    module = torch.jit.script(nn.BatchNorm1d(2))
    state = State(module)
    module.train()
    module(torch.rand(4, 2))
    assert "running_mean" in state.changed()
    state.restore()
    assert state.changed_tensors() == []


def test_what_is_no_number_equals_itself_and_nothing_else():
    module = Module()
    module.share, module.values = 0.5, [torch.tensor([1.0, torch.nan]), np.array([1.0, np.nan])]
    state = State(module)
    module.nothing = float("nan")
    module.values = [part + 0 for part in module.values]
    assert state.changed() == []
    module.share = float("nan")
    assert state.changed() == ["share"]
    state.restore()
    module.values[0][0] = torch.nan
    assert state.changed() == ["values"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1, True),
        (1, 1.0),
        ([1, 2], (1, 2)),
        ({"a": 1}, {"b": 1}),
        ([1, 2], [1, 2, 3]),
        (torch.ones(2), torch.ones(2, 1)),
        (torch.ones(2), torch.ones(2, dtype=torch.float64)),
        (np.zeros(2), np.zeros(3)),
        ("a", "b"),
    ],
    ids=str,
)
def test_another_type_length_or_key_is_a_change(before, after):
    module = nn.Identity()
    module.value = before
    state = State(module)
    module.value = after
    assert state.changed() == ["value"]
    state.restore()
    assert type(module.value) is type(before)
