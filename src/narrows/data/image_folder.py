"""Images in folders named after their classes, as `torchvision.datasets.ImageFolder` reads them.

    folder/train/cat/1.png        folder/cat/1.png
    folder/val/cat/2.png          folder/dog/2.jpg
    folder/test/dog/3.jpg

On the left the parts are taken as they are; on the right they are made. Classes are numbered in the
order of their sorted names. PNG, JPEG, BMP, WebP, TIFF, PGM and PPM are read. Files are decoded and
never executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from narrows.data._base import Dataset
from narrows.data.arrays import Part
from narrows.data.objects import keyed
from narrows.data.pillow import conversions, is_grey, pixels
from narrows.errors import DataError
from narrows.storage import check_regular

__all__ = ["read_image_folder"]

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}


def read_image_folder(folder: Path) -> dict[str, Part | Dataset]:
    """Read the images of a folder of class folders, with sub-folders for its parts or without.

    All images must have one size. They are grey if all files are, and RGB otherwise. Transparency
    is dropped.

    Args:
        folder: of the data set.

    Raises:
        DataError: for a folder without class folders or images, an image that is damaged or of
            another size, or parts that have different classes.
    """
    within = _folders(folder)
    parts = {part: within[key] for key, (part, role) in keyed(within).items() if not role}
    if "train" not in parts:
        parts = {"": folder}
    listed = {part: _listed(home) for part, home in parts.items()}
    files = [file for classes in listed.values() for group in classes.values() for file in group]
    modes = {_opened(file, lambda image: (image.mode, is_grey(image))) for file in files}
    grey = all(colourless for _, colourless in modes)
    notes = conversions((mode for mode, _ in modes), grey)
    size = _decoded(files[0], grey).shape
    names = tuple(listed.get("train", listed.get("", {})))
    for part, classes in listed.items():
        if unknown := sorted(set(classes) - set(names)):
            raise DataError(f"{folder}: {part} has the class {unknown[0]!r}, and train has not")
    return {part: _part(classes, names, grey, size, notes) for part, classes in listed.items()}


def _folders(folder: Path) -> dict[str, Path]:
    try:
        return {
            path.name: path
            for path in sorted(folder.iterdir())
            if path.is_dir() and not path.name.startswith(".")
        }
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error


def _listed(folder: Path) -> dict[str, list[Path]]:
    """The image files of each class."""
    classes = {
        name: sorted(file for file in home.iterdir() if file.suffix.lower() in _SUFFIXES)
        for name, home in _folders(folder).items()
    }
    if not classes:
        raise DataError(
            f"{folder}: expected a folder for each class, and there is none; put the images of "
            "each class into a folder of its name"
        )
    for name, files in classes.items():
        if not files:
            raise DataError(
                f"{folder / name}: holds no images (PNG, JPEG, BMP, WebP, TIFF); every folder in "
                f"{folder} must hold those of one class"
            )
    return classes


def _part(
    classes: dict[str, list[Path]],
    names: tuple[str, ...],
    grey: bool,
    size: tuple[int, ...],
    notes: tuple[str, ...],
) -> Part:
    files = [(file, names.index(name)) for name, group in classes.items() for file in group]
    x = np.empty((len(files), *size), dtype=np.uint8)
    for row, (file, _) in enumerate(files):
        decoded = _decoded(file, grey)
        if decoded.shape != size:
            wide, high = size[2], size[1]
            raise DataError(
                f"{file}: is {decoded.shape[2]} x {decoded.shape[1]} pixels, and the first image "
                f"is {wide} x {high}; resize the images to one size first"
            )
        x[row] = decoded
    return Part(x, np.array([label for _, label in files]), names, notes)


def _decoded(file: Path, grey: bool) -> np.ndarray[Any, Any]:
    """Pixels `[channels, height, width]`."""
    return _opened(file, lambda image: pixels(image, grey))


def _opened(file: Path, read: Any) -> Any:
    try:
        check_regular(file)
        with Image.open(file) as image:
            return read(image)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
        OSError,
        SyntaxError,
        ValueError,
    ) as error:
        raise DataError(f"{file}: damaged image ({error})") from error
