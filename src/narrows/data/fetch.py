"""Find the files of a published data set, or download them; believe none without its checksum.

Places are searched in this order, for each file, gzipped or unpacked: the folder given by the
caller, the folder named by the environment variable `NARROWS_DATA` (in both, first the data set's
own subfolder), and the user's cache, into which missing files are downloaded. Wherever a file is
found, its MD5 is the published one, so that the place never changes a result.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pooch

from narrows.data._base import Root
from narrows.errors import DataError

__all__ = ["Archive", "Checksums", "fetch"]

_VARIABLE = "NARROWS_DATA"


class Checksums(NamedTuple):
    """MD5 of one file as it is published, gzipped, and of the same file unpacked."""

    packed: str
    unpacked: str


@dataclass(frozen=True)
class Archive:
    """A published data set: what its files are called, contain, and where they can be had.

    Args:
        name: of the data set and of its subfolder.
        files: file name without `.gz` -> checksums.
        mirrors: addresses, each with its final slash, tried in this order.
    """

    name: str
    files: Mapping[str, Checksums]
    mirrors: tuple[str, ...]


def fetch(archive: Archive, root: Root = None) -> dict[str, bytes]:
    """Return the verified content of every file, gzipped or unpacked, downloading what is missing.

    Raises:
        DataError: naming a file that is damaged, or the files that are missing where a download
            failed, the folders that were searched and how to provide them.
    """
    places = _places(archive, root)
    found = {name: _read(name, sums, places) for name, sums in archive.files.items()}
    missing = [name for name, content in found.items() if content is None]
    for done, name in enumerate(missing):
        failures = _download(archive, name, places[-1])
        content = _read(name, archive.files[name], places[-1:])
        if content is None:
            raise _not_found(archive, missing[done:], places, failures)
        found[name] = content
    return {name: content for name, content in found.items() if content is not None}


def _places(archive: Archive, root: Root) -> list[Path]:
    """Folders to search, the cache last."""
    given = [folder for folder in (root, os.environ.get(_VARIABLE)) if folder]
    roots = [Path(folder).expanduser() for folder in given]
    places = [place for folder in roots for place in (folder / archive.name, folder)]
    return list(dict.fromkeys([*places, Path(pooch.os_cache("narrows")) / archive.name]))


def _read(name: str, sums: Checksums, places: list[Path]) -> bytes | None:
    """Content of the first file of that name, or None; a damaged one is an error, not a miss."""
    for path, expected in _candidates(name, sums, places):
        if not path.is_file():
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != expected:
            raise DataError(
                f"{path}: expected MD5 {expected}, got {md5}; the file is damaged, or belongs to "
                "another data set (MNIST and Fashion-MNIST use the same file names: give each a "
                "subfolder of its own). Delete it to have it downloaded again"
            )
        return content
    return None


def _candidates(name: str, sums: Checksums, places: list[Path]) -> Iterator[tuple[Path, str]]:
    for place in places:
        yield place / f"{name}.gz", sums.packed
        yield place / name, sums.unpacked


def _download(archive: Archive, name: str, folder: Path) -> list[str]:
    """Try the mirrors until one delivers the right file; say why the others did not."""
    failures = []
    for mirror in archive.mirrors:
        try:
            pooch.retrieve(
                f"{mirror}{name}.gz",
                known_hash=f"md5:{archive.files[name].packed}",
                fname=f"{name}.gz",
                path=folder,
                progressbar=True,
            )
            break
        except OSError as error:  # no connection, or a refusal: requests derives its errors from it
            failures.append(f"{mirror} ({type(error).__name__})")
        except ValueError:
            failures.append(f"{mirror} (delivered a file with a wrong checksum)")
    return failures


def _not_found(
    archive: Archive, missing: list[str], places: list[Path], failures: list[str]
) -> DataError:
    files = ", ".join(f"{name}.gz" for name in missing)
    return DataError(
        f"{archive.name}: {len(missing)} of {len(archive.files)} files not found: {files}. "
        f"Searched: {', '.join(map(str, places))}. Download failed: {', '.join(failures)}. "
        f"Put the files into one of these folders, or set {_VARIABLE} to the folder that holds "
        f"{archive.name}/"
    )
