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
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Seal", "replace", "reseal", "reseal_record", "seal_of", "unknown_seals"]

_HEX = re.compile(r"[0-9a-f]{8,64}")
_NAMES = ("sha256", "crc32", "digest", "checksum", "seal", "hash", "sum")


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


def _crc(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"


def _own_seal(record: Any) -> tuple[str, Any] | None:
    """The key of a record's checksum of itself, and what it is of: the rest, or its only part."""
    if not isinstance(record, dict):
        return None
    for key, value in record.items():
        if key.lower() in _NAMES and isinstance(value, str) and _HEX.fullmatch(value):
            return key, {name: part for name, part in record.items() if name != key}
    return None


class Seal(NamedTuple):
    """How a record's checksum of itself is made.

    Attributes:
        key: where it stands.
        part: the key of what it is of; None for all the rest of the record.
        form: the bytes of that, as they are summed.
        digest: the function that sums them.
    """

    key: str
    part: str | None
    form: Callable[[Any], bytes]
    digest: Callable[[bytes], str]

    def of(self, record: dict[str, Any]) -> str:
        """The checksum that a record should have."""
        rest = {name: value for name, value in record.items() if name != self.key}
        return self.digest(self.form(rest if self.part is None else rest[self.part]))


def seal_of(record: Any) -> Seal | None:
    """How the checksum of a record is made; None where it has none, or none that is known."""
    own = _own_seal(record)
    if own is None:
        return None
    key, rest = own
    for part in (None, *rest):
        for form in FORMS:
            seal = Seal(key, part, form, _crc if len(record[key]) == 8 else _digest)
            if seal.of(record)[: len(record[key])] == record[key]:
                return seal
    return None


def reseal_record(before: Any, after: Any) -> Any:
    """`after` with the checksum that `before` has of itself."""
    seal = seal_of(before)
    if seal is None or not isinstance(after, dict) or seal.key not in after:
        return after
    try:
        return {**after, seal.key: seal.of(after)[: len(before[seal.key])]}
    except (KeyError, TypeError, ValueError, RecursionError):
        return after


def unknown_seals(folder: Path) -> list[Path]:
    """Records that have a checksum of themselves in a form that is not known here."""
    unknown = []
    for path in folder.rglob("*.json"):
        record = json.loads(path.read_bytes())
        if _own_seal(record) is not None and seal_of(record) is None:
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
