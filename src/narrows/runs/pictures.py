"""The tensors that a run stores for its report, and the check of their names and shapes.

clean, pgd, deepfool                  [n, channels, height, width]   images, also [n, ...] vectors
label, clean_predicted, ...           [n]                            classes
<beta>/projection                     [m, 2]                         points of a latent
<beta>/projection_label               [m]                            their classes
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from narrows.errors import CheckpointError

__all__ = ["ATTACKED", "check_pictures"]

ATTACKED = ("clean", "pgd", "deepfool")
"""Names of the images, in the order in which they are drawn."""

_POINTS = "/projection"


def check_pictures(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a file of pictures.

    Args:
        path: of the file, for errors.
        tensors: what it holds.

    Raises:
        CheckpointError: for a tensor that is missing, or has another shape or type.
    """
    for name, tensor in tensors.items():
        if name.endswith(_POINTS):
            fits = tensor.dim() == 2 and tensor.shape[1] == 2
            _require(fits and tensor.is_floating_point(), path, name, tensor)
            _classes(path, f"{name}_label", tensors, len(tensor))
    if not tensors.keys().isdisjoint({*ATTACKED, "label"}):
        _check_images(path, tensors)
    return dict(tensors)


def _check_images(path: Path, tensors: Mapping[str, Tensor]) -> None:
    clean = _present(path, "clean", tensors)
    for name in ATTACKED:
        images = _present(path, name, tensors)
        fits = images.dim() > 1 and images.shape == clean.shape and images.is_floating_point()
        _require(fits, path, name, images)
        _classes(path, f"{name}_predicted", tensors, len(clean))
    _classes(path, "label", tensors, len(clean))


def _classes(path: Path, name: str, tensors: Mapping[str, Tensor], count: int) -> None:
    labels = _present(path, name, tensors)
    whole = not (labels.is_floating_point() or labels.is_complex())
    _require(whole and labels.shape == (count,), path, name, labels)


def _present(path: Path, name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    if name not in tensors:
        raise CheckpointError(f"{path} is not a file of pictures: it has no tensor {name!r}")
    return tensors[name]


def _require(fits: bool, path: Path, name: str, tensor: Tensor) -> None:
    if not fits:
        raise CheckpointError(
            f"{path} is not a file of pictures: {name!r} is {tensor.dtype} {list(tensor.shape)}"
        )
