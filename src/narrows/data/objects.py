"""Data from whatever Python object holds them: arrays, dicts, data sets of other libraries.

| object                                           | what is taken                             |
|--------------------------------------------------|-------------------------------------------|
| `Dataset`, `Splits`                              | as they are                               |
| `(x, y)`                                         | all samples                               |
| `(train, test)`, `(train, validation, test)`     | the parts                                 |
| a dict, an .npz, a Bunch of scikit-learn         | by its keys: `x_train`, `labels`, `target` |
| a map-style data set of torch or torchvision     | its samples `(x, y)` in order             |
| a Hugging Face `Dataset` or `DatasetDict`        | the columns of inputs and labels          |
| a `DataLoader`                                   | its data set in order, without shuffling  |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from narrows.data._base import Dataset, Splits
from narrows.data.arrays import Part, as_parts, in_single_precision, to_splits
from narrows.data.pillow import conversions, is_grey, is_picture, pixels
from narrows.errors import DataError

__all__ = ["as_dataset", "as_splits", "keyed"]

_PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
# In this order: `data` of scikit-learn's digits is taken before their `images`.
_INPUTS = ("x", "data", "images", "image", "img", "pixel_values", "features", "inputs", "input")
_LABELS = ("y", "labels", "label", "targets", "target", "fine_label")
_NAMES = ("target_names", "class_names", "label_names", "classes")
_POSITIONS = {"arr_0": "x", "arr_1": "y"}  # of numpy.savez without names
_HINT = "expected (x, y), a dict like {'x_train': ..., 'y_train': ...}, or a data set of samples"


def as_splits(source: Any, name: str = "data") -> Splits:
    """Turn an object that holds data into the three splits; what is missing is held out.

    Args:
        source: arrays, a dict, or a data set of another library; see `narrows.data.objects`.
        name: of the data, for errors and reports.

    Raises:
        DataError: for an object of another kind, or values that cannot be trained on.

    Example:
        >>> splits = as_splits((np.eye(20), np.arange(20) % 2), "eye")
        >>> [len(part) for part in splits]
        [12, 4, 4]
    """
    return to_splits(name, _parts(name, source))


def as_dataset(source: Any, name: str = "data") -> Dataset:
    """Turn an object that holds one set of samples into a `Dataset`; features keep their scale.

    Args:
        source: `(x, y)`, or a data set of another library; see `narrows.data.objects`.
        name: of the data, for errors and reports.

    Raises:
        DataError: for an object of another kind or of several parts, or values that cannot be
            used.

    Example:
        >>> as_dataset((np.eye(4), ["dog", "cat", "dog", "cat"])).class_names
        ('cat', 'dog')
    """
    parts = _parts(name, source)
    if len(parts) > 1:
        raise DataError(f"{name}: holds the parts {', '.join(parts)}; give one of them")
    (made,) = as_parts(name, parts).values()
    return in_single_precision(made)


def _parts(name: str, source: Any) -> dict[str, Part | Dataset]:
    """The parts of an object, by name; `""` for all samples in one."""
    if isinstance(source, Splits):
        return dict(source._asdict())
    if isinstance(source, Mapping):
        return _of_mapping(name, source)
    if isinstance(source, (tuple, list)) and not _is_pair(source):
        parts = {2: ("train", "test"), 3: Splits._fields}.get(len(source))
        if parts is None or any(_is_array(part) for part in source):
            kinds = ", ".join(type(part).__name__ for part in source[:6])
            raise DataError(f"{name}: {_HINT}; got {len(source)} things: {kinds}")
        return {key: _part(f"{name}, {key}", part) for key, part in zip(parts, source, strict=True)}
    return {"": _part(name, source)}


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray, list)) or hasattr(value, "__array__")


def _is_pair(value: Any) -> bool:
    """Whether it is `(x, y)` and no pair of parts."""
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_array, value))


def keyed(keys: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Which key holds what: `{key: (part, role)}`, with the role `"x"`, `"y"`, `"names"` or `""`.

    Args:
        keys: any; those that say nothing are left out.

    >>> keyed(["train_images", "y_test", "val"])
    {'train_images': ('train', 'x'), 'y_test': ('test', 'y'), 'val': ('validation', '')}
    """
    roles = {}
    for key in keys:
        words = [word for word in re.split(r"[_\-. ]+", str(key).lower()) if word]
        parts = [_PARTS[word] for word in words if word in _PARTS]
        rest = "_".join(word for word in words if word not in _PARTS)
        for role, known in (("x", _INPUTS), ("y", _LABELS), ("names", _NAMES), ("", ("",))):
            if rest in known and len(parts) < 2 and (rest or parts):
                roles[key] = (parts[0] if parts else "", role)
        if key in _POSITIONS:
            roles[key] = ("", _POSITIONS[key])
    return roles


def _of_mapping(name: str, source: Mapping[Any, Any]) -> dict[str, Part | Dataset]:
    roles = keyed(source)
    whole = [part for part, role in roles.values() if not role]
    if whole:
        return {
            part: _part(f"{name}, {part}", source[key])
            for key, (part, role) in roles.items()
            if not role
        }
    names = next((source[key] for key, (_, role) in roles.items() if role == "names"), ())
    parts: dict[str, Part | Dataset] = {}
    for part in dict.fromkeys(part for part, role in roles.values() if role in ("x", "y")):
        x, y = (_first(roles, part, role) for role in ("x", "y"))
        if x is None or y is None:
            have, lack = ("labels", "inputs") if x is None else ("inputs", "labels")
            raise DataError(
                f"{name}: has {have} of {part or 'all samples'} and no {lack}; name them "
                f"{'x' if x is None else 'y'}{part and '_'}{part}"
            )
        parts[part] = Part(source[x], source[y], _texts(names))
    if not parts:
        listed = ", ".join(str(key) for key in list(source)[:10]) or "nothing"
        raise DataError(
            f"{name}: expected x and y, or x_train, y_train, x_test and y_test (also with "
            f"images, data, labels or targets); got {listed}"
        )
    return parts


def _first(roles: Mapping[str, tuple[str, str]], part: str, role: str) -> str | None:
    """The key of a role, that of the preferred name first."""
    known = _INPUTS if role == "x" else _LABELS
    keys = [key for key, value in roles.items() if value == (part, role)]
    return min(keys, key=lambda key: _rank(key, known), default=None)


def _rank(key: str, known: Sequence[str]) -> int:
    rest = "_".join(word for word in str(key).lower().split("_") if word not in _PARTS)
    return known.index(rest) if rest in known else len(known)


def _texts(names: Any) -> tuple[str, ...]:
    try:
        return tuple(str(value) for value in names)
    except TypeError:
        return ()


# One part ----------------------------------------------------------------------------------------


def _part(name: str, source: Any) -> Part | Dataset:
    """The inputs and labels of one part."""
    if isinstance(source, Dataset):
        return source
    if _is_pair(source):
        return Part(*source)
    if isinstance(source, Mapping):
        parts = _of_mapping(name, source)
        if set(parts) == {""}:
            return parts[""]
        raise DataError(f"{name}: expected x and y, got the parts {', '.join(parts)}")
    if hasattr(source, "column_names") and hasattr(source, "features"):
        return _of_columns(name, source)
    if isinstance(source, DataLoader):
        return _of_batches(name, source)
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return _of_samples(name, (source[i] for i in range(len(source))), _class_names(source))
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes)):
        return _of_samples(name, source, _class_names(source))
    raise DataError(f"{name}: {_HINT}; got {type(source).__name__}")


def _class_names(source: Any) -> tuple[str, ...]:
    """What a data set like torchvision's says of its classes; a subset asks the set it is of."""
    while not hasattr(source, "classes") and hasattr(source, "dataset"):
        source = source.dataset
    return _texts(getattr(source, "classes", ()))


def _of_columns(name: str, source: Any) -> Part:
    """A Hugging Face data set: the columns whose names say so."""
    roles = keyed(source.column_names)
    x, y = (_first(roles, "", role) for role in ("x", "y"))
    if x is None or y is None:
        raise DataError(
            f"{name}: no column of inputs and labels among {', '.join(source.column_names)}; "
            "rename them to x and y"
        )
    names = _texts(getattr(source.features[y], "names", None) or ())
    return _of_samples(name, ((row[x], row[y]) for row in source), names)


def _of_batches(name: str, loader: DataLoader[Any]) -> Part:
    """The batches of a loader, in the order of its data set, the same each time."""
    if isinstance(loader.sampler, RandomSampler):
        if loader.sampler.replacement:
            raise DataError(f"{name}: a loader that draws with replacement holds no fixed samples")
        loader = DataLoader(
            loader.dataset, batch_size=loader.batch_size, collate_fn=loader.collate_fn
        )
    batches = [_pair(name, i, batch) for i, batch in enumerate(loader)]
    if not batches:
        raise DataError(f"{name}: holds no samples")
    inputs = [as_numpy(x) for x, _ in batches]
    labels = [np.asarray(y) for _, y in batches]
    if len({x.shape[1:] for x in inputs}) > 1:
        raise DataError(f"{name}: the batches have inputs of different shapes; resize them first")
    return Part(np.concatenate(inputs), np.concatenate(labels), _class_names(loader.dataset))


def _of_samples(name: str, samples: Iterable[Any], names: tuple[str, ...]) -> Part:
    inputs, labels, greys = [], [], {}
    for index, sample in enumerate(samples):
        x, y = _pair(name, index, sample)
        try:
            inputs.append(as_numpy(x))
        except DataError as error:
            raise DataError(f"{name}: sample {index} {error}") from error
        if is_picture(x):
            greys[x.mode] = is_grey(x)
        labels.append(y.item() if isinstance(y, (Tensor, np.ndarray)) and y.size == 1 else y)
    if not inputs:
        raise DataError(f"{name}: holds no samples")
    if len({*greys.values()}) == 2:  # grey images among coloured ones
        inputs = [np.repeat(x, 3, 0) if x.shape[0] == 1 else x for x in inputs]
    for index, x in enumerate(inputs):
        if x.shape != inputs[0].shape:
            raise DataError(
                f"{name}: sample {index} is {list(x.shape)} and sample 0 is "
                f"{list(inputs[0].shape)}; resize or crop them to one shape first"
            )
    return Part(np.stack(inputs), labels, names, conversions(greys, all(greys.values())))


def _pair(name: str, index: int, sample: Any) -> tuple[Any, Any]:
    if isinstance(sample, Mapping):
        roles = keyed(sample)
        x, y = (_first(roles, "", role) for role in ("x", "y"))
        if x is not None and y is not None:
            return sample[x], sample[y]
    elif isinstance(sample, (tuple, list)) and len(sample) >= 2:
        return sample[0], sample[1]
    raise DataError(f"{name}: sample {index} is no pair (x, y), got {type(sample).__name__}")


def as_numpy(x: Any) -> np.ndarray[Any, Any]:
    """One input, or a batch of them, as an array; images of Pillow have their channels first.

    Args:
        x: a tensor, an array, nested lists, or an image of Pillow.

    Raises:
        DataError: for an image of Pillow of more than 8 bits a pixel and channel.
    """
    if isinstance(x, Tensor):
        return x.detach().cpu().numpy()
    return pixels(x, is_grey(x)) if is_picture(x) else np.asarray(x)
