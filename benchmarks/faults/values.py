"""Values that programs trip over, as text, as JSON and as YAML, and damage to bytes and to JSON.

Everything is drawn from the `random.Random` that is passed in, so that a seed names a mutation.
"""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

__all__ = [
    "MARKS",
    "SENTINEL",
    "damage_bytes",
    "damage_json",
    "json_value",
    "text_value",
    "yaml_value",
]

SENTINEL = "EXECUTED"
"""Name of the file that every planted payload would create in the working folder."""

MARKS = ("<i>planted</i>", "<!--<script>planted", "</script><b>planted")
"""Markup in names; none may stand in a page as it is."""

_DIGITS = "9" * 5000
_PYTHON = f"__import__('os').system('touch {SENTINEL}')"

TEXTS = [
    *("", " ", "\t", "a\nb", "a\r\nb", "\x00", "a\x00b", "\x1b[31mred", "\ud800", "\udcff.json"),
    *("é", "日本語", "\u202eabc", "١٢٣", "🙂", "n̈" * 40),
    *("a" * 300, "a" * 5000, "[red]x[/red]", "[/red]", "[bold", "[link=x]", "{{7*7}}", "{% raw %}"),
    *MARKS,
    *("../../../up", "/", ".", "..", "~", "~nobodyx", "/dev/null/x", "a/b/c", "*", "%s%n%d"),
    *("${oc.env:HOME}", "${data}", "${x", "???", "'; --", '"', "'", "\\", "`id`", "$(id)"),
    *("nan", "inf", "-inf", "1e400", "-1", "0", "1e-400", "0x10", "1_000", "1,5", "+3", ".5", "5."),
    *("true", "null", "None", "[]", "{}", "[1]", "{a: 1}", _DIGITS, str(2**63), str(2**64)),
    *("10**12", str(10**12), "cpu", "cuda", "meta", "mps", "xpu", "hpu", "cuda:99", "cpu:7", "vib"),
    *("digits", "cross_entropy", "linf", "l2", "mean", "--help", "-h", "--", "-", _PYTHON),
]


class Raw(str):
    """A token that stands in JSON as it is."""


JSON = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, -1e308, 5e-324, 10**12, 2**31, 2**53 + 1),
    *(2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, Raw("NaN"), Raw("Infinity"), Raw("-Infinity")),
    *(Raw("1e999"), Raw(_DIGITS), Raw("0." + _DIGITS), Raw('"\\ud800"'), Raw('"\\u0000"')),
    *([], {}, [None], [[]], [0], [-1], [1e308, 1e308], {"": {}}, {"a": None}, {"0": 0}, [{}, []]),
    *(
        [1, 2, 3],
        ["a"],
        [[1.0], [2.0]],
        [True],
        list(range(2000)),
        {"nats": 0.1},
        "nan",
        "1",
        "0.5",
    ),
]

YAML = [
    *("!!python/object/apply:os.system ['touch " + SENTINEL + "']", f"!!python/name:{SENTINEL}"),
    *("!!binary aGk=", "&a [*a]", "*a", "2020-01-01", "1:30", "~", "{a: {b: {c: 1}}}", "[a, [b]]"),
    *("? x", "- x", "|", ">", "%TAG", "@x", "`x`", "[1, 2", "{a: 1", '"unclosed', "a: b: c", "[,]"),
    *("[" * 2000 + "]" * 2000, "{a: " * 500 + "1" + "}" * 500, "[1e-400]", "[nan]", "[.inf]"),
    *("[0.1, 0.1]", "[0.1, 0.10000000001]", "[-1]", "[true]", "['a']", "[null]", "[1e38]"),
    *("[1000000000000]", "[0]", "[9223372036854775808]", "[]", "[[8]]", "[8.5]", "{0: 1}", "1e12"),
]


def text_value(rng: Random) -> str:
    """A text for an option, a name or a path."""
    if rng.random() < 0.75:
        return rng.choice(TEXTS)
    if rng.random() < 0.5:
        return rng.choice(TEXTS[:40])[:30] + rng.choice(TEXTS)
    return str(rng.choice([rng.randint(-(10**18), 10**18), rng.uniform(-2, 2), rng.random() ** 40]))


PLAUSIBLE = ["1", "2", "3", "7", "0.5", "0.01", "[1]", "[0.1]", "[8, 8]", "true", "false", "null"]
PLAUSIBLE += ["mlp", "none", "linear", "log", "sgd", "cosine", "vib", "[vib]", "l2", "mean", "0"]


def yaml_value(rng: Random) -> str:
    """A text that stands after `KEY=`; of some keys it is a good one."""
    draw = rng.random()
    if rng.random() < 0.3:
        return rng.choice(PLAUSIBLE)
    if draw < 0.35:
        return rng.choice(YAML)
    return text_value(rng) if draw < 0.7 else dump(json_value(rng))


def json_value(rng: Random) -> Any:
    """Any JSON value; a `Raw` inside it is a token that Python's own writer would not produce."""
    draw = rng.random()
    if draw < 0.6:
        return copy.deepcopy(rng.choice(JSON))
    if draw < 0.8:
        return rng.choice(TEXTS)
    if draw < 0.85:
        return nested(rng.choice([5, 50, 150]), rng.choice(["list", "dict"]))
    return rng.choice([rng.randint(-(10**6), 10**6), rng.gauss(0, 10), rng.random() ** 30])


def nested(depth: int, kind: str) -> Any:
    """Lists in lists, or objects in objects."""
    value: Any = 0
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


def dump(value: Any, **options: Any) -> str:
    """JSON with the `Raw` tokens as they are."""
    raw: list[str] = []

    def mark(inner: Any) -> Any:
        if isinstance(inner, Raw):
            raw.append(str(inner))
            return f"@@{len(raw) - 1}@@"
        if isinstance(inner, dict):
            return {key: mark(part) for key, part in inner.items()}
        return [mark(part) for part in inner] if isinstance(inner, list) else inner

    text = json.dumps(mark(value), **options)
    for number, token in enumerate(raw):
        text = text.replace(f'"@@{number}@@"', token)
    return text


WHOLE = {
    "empty": b"",
    "an empty object": b"{}",
    "an empty list": b"[]",
    "null": b"null",
    "a number": b"3",
    "a text": b'"text"',
    "NaN": b"NaN",
    "a space": b" \n",
    "NUL bytes": b"\0" * 64,
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "100,000 brackets": b"[" * 100_000,
    "100,000 nested objects": b'{"a":' * 100_000,
    "5,000 digits": _DIGITS.encode(),
    "a pickle": b"cos\nsystem\n(S'touch " + SENTINEL.encode() + b"'\ntR.",
    "Python": _PYTHON.encode(),
    "a list of null": b"[null, null, null]",
    "a list of empty objects": b"[{}, {}]",
    "HTML": b"<html></html>",
    "two values": b"{} {}",
}


def damage_bytes(rng: Random, content: bytes) -> tuple[str, bytes]:
    """Damage that knows nothing of the format, and what it was."""
    draw = rng.random()
    if draw < 0.25:
        name = rng.choice(list(WHOLE))
        return f"is {name}", WHOLE[name]
    place = rng.randrange(max(1, len(content)))
    if draw < 0.45:
        return f"cut to {place} bytes", content[:place]
    if draw < 0.75 and content:
        bit = rng.randrange(8)
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        return f"bit {bit} of byte {place} flipped", bytes(changed)
    few = rng.randint(1, 9)
    if draw < 0.82:
        return f"{few} bytes left out at {place}", content[:place] + content[place + few :]
    added = rng.choice(
        [bytes(rng.randrange(256) for _ in range(few)), b"\0", b",", b"}", b"9" * 40]
    )
    if draw < 0.9:
        return f"{added!r} put in at {place}", content[:place] + added + content[place:]
    if draw < 0.95:
        return f"{added!r} appended", content + added
    return "written twice", content + content


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values inside a JSON value, itself first."""
    listed = [path]
    if isinstance(value, dict):
        items = list(value.items())
    else:
        items = list(enumerate(value[:50])) if isinstance(value, list) else []
    for key, inner in items:
        listed += paths_in(inner, (*path, key))
    return listed


def damage_json(rng: Random, value: Any) -> tuple[str, Any]:
    """Another JSON value that is nearly this one, and what was changed."""
    value = copy.deepcopy(value)
    places = paths_in(value)
    # Few things are near the root and matter most, many lie deep.
    shallow = [place for place in places if len(place) <= 2]
    path = rng.choice(shallow if rng.random() < 0.5 else places)
    if not path:
        return _damage_root(rng, value)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    shown = ".".join(map(str, path))
    key = path[-1]
    change = rng.choice(["drop", "rename", "retype", "value", "value", "value", "empty", "add"])
    if change == "drop":
        del holder[key]
        return f"{shown} left out", value
    if change == "rename" and isinstance(holder, dict):
        name = rng.choice([f"{key}s", str(key).upper(), "", "x"])
        holder[name] = holder.pop(key)
        return f"{shown} renamed to {name!r}", value
    if change == "add":
        return f"{shown}: {_add(rng, holder)}", value
    if change == "retype":
        holder[key] = _retyped(rng, holder[key])
    elif change == "empty":
        holder[key] = type(holder[key])() if holder[key] is not None else []
    else:
        holder[key] = json_value(rng)
    return f"{shown} = {dump(holder[key])[:60]}", value


def _damage_root(rng: Random, value: Any) -> tuple[str, Any]:
    if isinstance(value, dict) and value and rng.random() < 0.5:
        return "key added", {**value, rng.choice(["new", "", "sha", "0"]): json_value(rng)}
    if isinstance(value, list) and value and rng.random() < 0.6:
        changed = rng.choice([value[:1], value[:-1], value + value[:1], value[::-1], value * 2])
        return f"{len(changed)} items for {len(value)}", changed
    root = rng.choice([json_value(rng), [value], {"a": value}, {"0": value}])
    return f"is {dump(root)[:60]}", root


def _add(rng: Random, holder: Any) -> str:
    if isinstance(holder, dict):
        holder[rng.choice(["new", "", "x y", "日本", "__class__"])] = json_value(rng)
        return "key added beside it"
    holder.append(json_value(rng))
    return "item appended"


def _retyped(rng: Random, value: Any) -> Any:
    """The same, spelt in another type."""
    if isinstance(value, bool) or value is None:
        return rng.choice([str(value), 0, 1, []])
    if isinstance(value, (int, float)):
        return rng.choice([str(value), [value], {"value": value}, -value, bool(value), value + 0.5])
    if isinstance(value, str):
        return rng.choice([[value], {value: value}, list(value), value.upper(), value + " ", 0])
    if isinstance(value, list):
        return rng.choice(
            [dict(enumerate(map(str, value))), str(value), value[:1], value * 3, None]
        )
    return rng.choice([list(value.items()), list(value), str(value), [value], None])
