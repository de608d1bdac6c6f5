"""Lists and tables where they belong, or the key where they do not."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from narrows.errors import ConfigError
from narrows.runs.shapes import check_shapes


@dataclass(frozen=True)
class Inner:
    width: int = 3
    layers: list[int] | None = None


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    inner: Inner | None = None
    table: dict[str, list[float]] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"name": "b", "inner": {"width": 4, "layers": [1, 2]}, "table": {"x": [0.1], "y": []}},
        {"inner": None, "table": None},
        {"inner": {"layers": None}},
        {"free": {"x": [1, {"y": 2}], "z": {"a": []}}},
        {"unknown": [1]},  # a name for OmegaConf to refuse
        {"name": 3},  # likewise a type
    ],
)
def test_what_has_the_right_shape_passes(value):
    check_shapes(value, Outer)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the configuration: expected a table of settings, got []"),
        ({"inner": 3}, "inner: expected a table of settings, got 3"),
        ({"inner": [1]}, "inner: expected a table of settings, got [1]"),
        ({"inner": {"layers": 3}}, "inner.layers: expected a list, like [a, b], got 3"),
        ({"inner": {"layers": {"a": 1}}}, "inner.layers: expected a list, like [a, b], got {'a':"),
        ({"inner": {"layers": [[1]]}}, "inner.layers[0]: expected a single value, got [1]"),
        ({"inner": {"layers": [1, {}]}}, "inner.layers[1]: expected a single value, got {}"),
        ({"name": ["a"]}, "name: expected a single value, got ['a']"),
        ({"name": {"a": 1}}, "name: expected a single value, got {'a': 1}"),
        ({"table": [1]}, "table: expected a table, got [1]"),
        ({"table": {"x": 3}}, "table.x: expected a list, like [a, b], got 3"),
        ({"free": 3}, "free: expected a table, got 3"),
        ({"name": "???"}, "name has no value, got '???'"),
        ({"free": {"x": "???"}}, "free.x has no value, got '???'"),
        ({"name": ["a" * 80]}, "name: expected a single value, got list"),
    ],
)
def test_what_has_another_shape_is_named_by_its_key(value, message):
    with pytest.raises(ConfigError) as raised:
        check_shapes(value, Outer)
    assert message in str(raised.value)
