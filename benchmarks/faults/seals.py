"""Sign damaged records again, so that only the reader's knowledge of their form can refuse them.

The library's checksums are found in what it wrote, not looked up in its code: a long hexadecimal
text in a JSON file that is the SHA-256 of a sibling file or of the rest of its own record. A record
whose checksum fits none of the forms in `FORMS` is named by `unknown_seals`: mutations behind it
are refused for their checksum and test nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["replace", "reseal", "reseal_record", "unknown_seals"]

_HEX = re.compile(r"[0-9a-f]{10,64}")
_NAMES = ("sha256", "digest", "checksum", "seal", "hash", "sum")


def _dumped(**options: Any) -> Callable[[Any], bytes]:
    return lambda value: json.dumps(value, **options).encode()


FORMS: list[Callable[[Any], bytes]] = [
    _dumped(**order, **spacing, **ascii_only)
    for order in ({}, {"sort_keys": True})
    for spacing in ({}, {"indent": 1}, {"indent": 2}, {"separators": (",", ":")})
    for ascii_only in ({}, {"ensure_ascii": False})
]
FORMS += [lambda value, form=form: form(value) + b"\n" for form in list(FORMS)]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _own_seal(record: Any) -> tuple[str, Any] | None:
    """The key of a record's checksum of itself, and what it is of: the rest, or its only part."""
    if not isinstance(record, dict):
        return None
    for key, value in record.items():
        if key.lower() in _NAMES and isinstance(value, str) and _HEX.fullmatch(value):
            return key, {name: part for name, part in record.items() if name != key}
    return None


def _form_of(seal: str, rest: Any) -> Callable[[Any], str] | None:
    parts = [lambda value: value]
    parts += [lambda value, key=key: value[key] for key in rest]
    for part in parts:
        for form in FORMS:
            if _digest(form(part(rest)))[: len(seal)] == seal:
                return lambda value, part=part, form=form: _digest(form(part(value)))[: len(seal)]
    return None


def reseal_record(before: Any, after: Any) -> Any:
    """`after` with the checksum that `before` has of itself."""
    seal = _own_seal(before)
    if seal is None or not isinstance(after, dict) or seal[0] not in after:
        return after
    key, rest = seal
    form = _form_of(before[key], rest)
    if form is None:
        return after
    try:
        return {**after, key: form({name: part for name, part in after.items() if name != key})}
    except (KeyError, TypeError, ValueError):
        return after


def unknown_seals(folder: Path) -> list[Path]:
    """Records that have a checksum of themselves in a form that is not known here."""
    unknown = []
    for path in folder.rglob("*.json"):
        record = json.loads(path.read_bytes())
        seal = _own_seal(record)
        if seal is not None and _form_of(record[seal[0]], seal[1]) is None:
            unknown.append(path)
    return unknown


def reseal(folder: Path, path: Path, before: bytes) -> None:
    """Sign `path` in `folder`, whose content was `before`, again, and what lists its checksum."""
    old, new = _digest(before), _digest(path.read_bytes())
    if old == new:
        return
    for other in folder.rglob("*"):
        if other == path or other.suffix not in (".json", ".jsonl"):
            continue
        content = other.read_bytes()
        for length in (64, 40, 32, 16):
            if old[:length].encode() in content:
                changed = content.replace(old[:length].encode(), new[:length].encode())
                replace(other, _signed_again(other, content, changed))
                reseal(folder, other, content)
                break


def _signed_again(path: Path, before: bytes, after: bytes) -> bytes:
    if path.suffix != ".json":
        return after
    record = json.loads(after)
    signed = reseal_record(json.loads(before), record)
    return after if signed == record else (json.dumps(signed, indent=1) + "\n").encode()


def replace(path: Path, content: bytes) -> None:
    """Write a file anew: the old one may have other names, which keep what they had."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
