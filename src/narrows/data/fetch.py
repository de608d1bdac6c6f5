"""Find the files of a published data set, or download them; every file must have its checksum.

Places are searched in this order: the folder given by the caller, the folder named by the
environment variable `NARROWS_DATA` (in both, first the data set's own subfolder), and the user's
cache, into which missing files are downloaded. Wherever a file is found, its MD5 must be the
published one, so that the place never changes a result. Files may be gzipped, plain, or packed in
one tar archive, from which they are read without being unpacked to disk.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pooch

from narrows.data._base import Root
from narrows.data._files import LARGEST, as_folder, is_file, read_file
from narrows.errors import DataError

__all__ = ["Archive", "Checksums", "fetch", "find", "members", "places"]

_VARIABLE = "NARROWS_DATA"


class Checksums(NamedTuple):
    """MD5 of one file gzipped, `None` where it is not published gzipped, and of the plain file."""

    packed: str | None
    unpacked: str


@dataclass(frozen=True)
class Archive:
    """A published data set: its files, their checksums and their addresses.

    Args:
        name: of the data set and of its subfolder.
        files: file name without `.gz` -> checksums.
        mirrors: addresses, each with its final slash, tried in this order.
        within: name of the data set in whose subfolder the files may be too.
        instead: folder that may be given instead of the files, for errors.
    """

    name: str
    files: Mapping[str, Checksums]
    mirrors: tuple[str, ...]
    within: str = ""
    instead: str = ""


def fetch(archive: Archive, root: Root = None) -> dict[str, bytes]:
    """Return the verified content of every file, gzipped or unpacked, downloading what is missing.

    Raises:
        DataError: naming a file that is damaged; or, where a download failed, the missing files,
            the folders that were searched and how to provide the files.
    """
    folders = places(archive, root)
    contents = find(archive, root)
    missing = [name for name in archive.files if name not in contents]
    for done, name in enumerate(missing):
        failures = _download(archive, name, folders[-1])
        content = _read(name, archive.files[name], folders[-1:])
        if content is None:
            raise _not_found(archive, missing[done:], folders, failures)
        contents[name] = content
    return contents


def find(archive: Archive, root: Root = None) -> dict[str, bytes]:
    """Return the verified content of the files that exist, without a download.

    Raises:
        DataError: naming a file that is damaged.
    """
    folders = places(archive, root)
    contents = {name: _read(name, sums, folders) for name, sums in archive.files.items()}
    return {name: content for name, content in contents.items() if content is not None}


def members(content: bytes, name: str, wanted: Iterable[str]) -> dict[str, bytes]:
    """Read files from a gzipped tar archive, in whatever folder of the archive they are.

    Args:
        content: of the archive.
        name: of the archive, for errors.
        wanted: names of the files, without folders.

    Raises:
        DataError: if it is no such archive, or lacks one of the files.
    """
    names = list(wanted)
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                # Only regular files: a link may point outside the archive.
                file = Path(member.name).name
                if file not in names or not member.isfile():
                    continue
                if member.size > LARGEST:
                    raise DataError(f"{name}: {file} unpacks to {member.size:,} bytes")
                if stream := archive.extractfile(member):
                    contents[file] = stream.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{name}: damaged tar archive ({error}); fetch it again") from error
    if missing := [file for file in names if file not in contents]:
        raise DataError(f"{name}: holds no {', '.join(missing)}; it belongs to another data set")
    return {file: contents[file] for file in names}


def places(archive: Archive, root: Root) -> list[Path]:
    """Folders to search, the cache last.

    Raises:
        DataError: for a root that is no folder.
    """
    named = {"root": root, _VARIABLE: os.environ.get(_VARIABLE)}
    roots = [as_folder(folder, name) for name, folder in named.items() if folder]
    cache = Path(pooch.os_cache("narrows"))
    parts, last = [archive.name, ""], [cache / archive.name]
    if archive.within:
        parts = [f"{archive.within}/{archive.name}", archive.name, archive.within, ""]
        last = [cache / archive.within / archive.name, cache / archive.within]
    return list(dict.fromkeys([*(folder / part for folder in roots for part in parts), *last]))


def _read(name: str, sums: Checksums, places: list[Path]) -> bytes | None:
    """Content of the first file of that name, or None; a damaged file is an error."""
    for path, expected in _candidates(name, sums, places):
        if not is_file(path):
            continue
        content = read_file(path)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != expected:
            raise DataError(
                f"{path}: expected MD5 {expected}, got {md5}; the file is damaged, or belongs to "
                "another data set (MNIST and Fashion-MNIST use the same file names: give each a "
                "separate subfolder). Delete it to have it downloaded again"
            )
        return content
    return None


def _candidates(name: str, sums: Checksums, places: list[Path]) -> Iterator[tuple[Path, str]]:
    for place in places:
        if sums.packed is not None:
            yield place / f"{name}.gz", sums.packed
        yield place / name, sums.unpacked


def _published(archive: Archive, name: str) -> tuple[str, str]:
    """Name and MD5 of the file on the mirrors."""
    sums = archive.files[name]
    return (name, sums.unpacked) if sums.packed is None else (f"{name}.gz", sums.packed)


def _download(archive: Archive, name: str, folder: Path) -> list[str]:
    """Download a file from the first mirror that has it; return the failures of the others."""
    failures = []
    file, md5 = _published(archive, name)
    for mirror in archive.mirrors:
        try:
            pooch.retrieve(
                f"{mirror}{file}",
                known_hash=f"md5:{md5}",
                fname=file,
                path=folder,
                progressbar=True,
            )
            break
        except OSError as error:  # the base class of the errors of requests
            failures.append(f"{mirror} ({type(error).__name__})")
        except ValueError:
            failures.append(f"{mirror} (delivered a file with a wrong checksum)")
    return failures


def _not_found(
    archive: Archive, missing: list[str], places: list[Path], failures: list[str]
) -> DataError:
    files = ", ".join(_published(archive, name)[0] for name in missing)
    instead = f", or {archive.instead}" if archive.instead else ""
    return DataError(
        f"{archive.name}: {len(missing)} of {len(archive.files)} files not found: {files}. "
        f"Searched: {', '.join(map(str, places))}. Download failed: {', '.join(failures)}. "
        f"Put the files{instead} into one of these folders, or set {_VARIABLE} to the folder that "
        f"holds {archive.name}/"
    )
