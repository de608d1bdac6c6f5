"""Splits of raw arrays: what is an image, which label is which class, what is missing.

| arrives                                  | becomes                                              |
|------------------------------------------|------------------------------------------------------|
| bytes, or whole numbers 0..255 of images | uint8 images, which batches divide by 255            |
| 16-bit numbers (uint16)                  | images, divided by 65535                             |
| floats in [0, 1]                         | images; they can be attacked                         |
| other numbers `[n, d]`                   | features, standardised by the training set           |
| images `[n, h, w, c]` or `[n, h, w]`     | `[n, c, h, w]`                                       |
| labels other than 0..C-1                 | numbers in sorted order, whose names are kept        |
| no test set                              | a fifth of each class is held out, with a fixed seed |
| no validation set                        | a fifth of each class of what is left                |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from narrows.checks import as_tensor, check_labels
from narrows.data._base import Dataset, Splits, split_off
from narrows.errors import DataError, InputError

__all__ = ["Part", "as_parts", "in_single_precision", "to_splits"]

_SHARE, _SEED = 0.2, 0
_CHANNELS = (1, 3, 4)
_LEAST_EXPONENT = -1000
_ULPS = 16
_LARGEST_LABEL = 2.0**53


class Part(NamedTuple):
    """Inputs and labels as they came.

    Attributes:
        x: inputs `[n, ...]`.
        y: labels `[n]`.
        class_names: the names of the classes, where they are known.
        notes: what was done to the inputs before.
    """

    x: Any
    y: Any
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def to_splits(name: str, parts: Mapping[str, Part | Dataset]) -> Splits:
    """Make the three splits; what is missing is held out of the training data.

    Args:
        name: of the data, in errors and reports.
        parts: by `"train"`, `"validation"` and `"test"`, or all samples by `""`.

    Raises:
        DataError: for values that cannot be trained on, saying in which part.
    """
    if unknown := sorted(set(parts) - {"", *Splits._fields}):
        raise DataError(f"{name}: unknown part {unknown[0]!r}; expected train, validation and test")
    if ("" in parts) == ("train" in parts):
        listed = ", ".join(repr(part) for part in parts) or "none"
        raise DataError(
            f"{name}: expected all samples in one, or a training set with a test set, "
            f"got the parts {listed}"
        )
    sets = as_parts(name, parts)
    notes: list[str] = []
    rest = sets.get("train", sets.get(""))
    assert rest is not None
    test, validation = sets.get("test"), sets.get("validation")
    if test is None:
        rest, test = _held_out(rest, "test", notes)
    if validation is None:
        rest, validation = _held_out(rest, "validation", notes)
    splits = Splits(rest, validation, test)
    _check_same(name, splits)
    if not any(isinstance(part, Dataset) for part in parts.values()):
        splits = _standardised(splits, notes)
    return Splits(*(replace(part, notes=(*part.notes, *notes)) for part in splits))


def _held_out(data: Dataset, part: str, notes: list[str]) -> tuple[Dataset, Dataset]:
    rest, held = split_off(data, _SHARE, _SEED)
    notes.append(f"{len(held):,} samples, {_SHARE:.0%} of each class, are held out for {part}")
    return rest, held


def as_parts(name: str, parts: Mapping[str, Part | Dataset]) -> dict[str, Dataset]:
    """Turn raw arrays into sets of one kind, whose classes are numbered together.

    Args:
        name: of the data.
        parts: any number of parts, by name.

    Raises:
        DataError: for values that cannot be trained on, saying in which part.
    """
    ready = {key: part for key, part in parts.items() if isinstance(part, Dataset)}
    raw = {key: part for key, part in parts.items() if isinstance(part, Part)}
    if ready and raw:
        raise DataError(f"{name}: give either all parts as a Dataset, or none of them")
    if ready:
        return {key: replace(part, name=name) for key, part in ready.items()}
    notes = list(dict.fromkeys(note for part in raw.values() for note in part.notes))
    images, inputs = _inputs(name, {key: part.x for key, part in raw.items()}, notes)
    names, labels = _labels(name, raw, notes)
    sets = {}
    for key in raw:
        where = f"{name}, {key}" if key else name
        part = Dataset(where, inputs[key], labels[key], len(names), images)
        shown = names if names != [str(i) for i in range(len(names))] else []
        sets[key] = replace(part, name=name, class_names=tuple(shown), notes=tuple(notes))
    return sets


# Inputs ------------------------------------------------------------------------------------------


def _inputs(name: str, raw: Mapping[str, Any], notes: list[str]) -> tuple[bool, dict[str, Tensor]]:
    """Inputs `[n, ...]` of every part, and whether they are images in [0, 1]."""
    inputs = {key: _numbers(f"{name}, {key}" if key else name, x) for key, x in raw.items()}
    _check_types(name, inputs)
    if all(x.dtype == torch.uint16 for x in inputs.values()):
        notes.append("16-bit numbers 0 to 65535 are divided by 65535")
        inputs = {key: x.to(torch.float32) / 65535 for key, x in inputs.items()}
    low = min(x.min().item() for x in inputs.values())
    high = max(x.max().item() for x in inputs.values())
    spatial = all(x.dim() > 2 for x in inputs.values())
    bytewise = all(x.dtype == torch.uint8 for x in inputs.values())
    numbered = spatial and low >= 0 and high <= 255 and all(map(_is_whole, inputs.values()))
    if high > 1 and (bytewise or numbered):
        kind = "bytes" if bytewise else "whole numbers"
        notes.append(f"{kind} 0 to 255 are divided by 255")
        inputs = {key: x.to(torch.uint8) for key, x in inputs.items()}
        return True, _channels_first(inputs, notes)
    images = low >= 0 and high <= 1
    # Features stay exact until they are standardised: single precision has no seconds since 1970.
    kind = torch.float32 if images else torch.float64
    inputs = {key: x.to(kind) for key, x in inputs.items()}
    if all(_looks_like_images(x) for x in inputs.values()) and not images:
        raise DataError(
            f"{name}: images must lie in [0, 1] or be bytes (uint8), got {low:.4g} to {high:.4g}; "
            "divide by 255, and leave normalisation to the model"
        )
    return images, _channels_first(inputs, notes) if images else inputs


def _numbers(where: str, x: Any) -> Tensor:
    try:
        inputs = as_tensor(x, "inputs")
    except InputError as error:
        raise DataError(f"{where}: {error}") from error
    if inputs.dim() < 2 or not inputs.numel():
        shape = list(inputs.shape)
        hint = "; for one feature write x.reshape(-1, 1)" if inputs.dim() == 1 else ""
        raise DataError(f"{where}: inputs must be [n, ...] and not empty, got {shape}{hint}")
    inputs = inputs.detach().cpu()
    if inputs.is_floating_point() and not (good := torch.isfinite(inputs).flatten(1).all(1)).all():
        first = int((~good).nonzero()[0])
        raise DataError(
            f"{where}: {int((~good).sum())} inputs hold NaN or inf, the first of them number "
            f"{first}; leave them out or fill them in"
        )
    if inputs.dtype == torch.bool:
        return inputs.float()
    return inputs.to(torch.int64) if inputs.dtype in (torch.uint32, torch.uint64) else inputs


def _check_types(name: str, inputs: Mapping[str, Tensor]) -> None:
    """Refuse parts of bytes beside parts of floats: their scales differ."""
    kinds = {torch.float32 if x.is_floating_point() else x.dtype for x in inputs.values()}
    if len(kinds) > 1 and kinds & {torch.float32, torch.uint16}:
        listed = ", ".join(f"{key} {x.dtype}" for key, x in inputs.items())
        raise DataError(f"{name}: all parts must have inputs of one type, got {listed}")


def _is_whole(x: Tensor) -> bool:
    return not x.is_floating_point() or bool((x == x.round()).all())


def _looks_like_images(x: Tensor) -> bool:
    return x.dim() == 4 and (x.shape[1] in _CHANNELS or x.shape[3] in _CHANNELS)


def _channels_first(inputs: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    if all(x.dim() == 3 for x in inputs.values()):
        return {key: x.unsqueeze(1) for key, x in inputs.items()}
    if all(
        x.dim() == 4 and x.shape[3] in _CHANNELS and x.shape[1] not in _CHANNELS
        for x in inputs.values()
    ):
        notes.append("the channels of the images are moved from last to first")
        return {key: x.permute(0, 3, 1, 2).contiguous() for key, x in inputs.items()}
    return inputs


def _standardised(splits: Splits, notes: list[str]) -> Splits:
    """Features by mean and standard deviation of the training set; images as they are."""
    train = splits.train
    if train.image:
        return splits
    mean, std = train.x.mean(0), _deviation(train.x)
    notes.append(
        "inputs outside [0, 1] are features: they are standardised by the training set, and not "
        "attacked"
    )
    return Splits(*(in_single_precision(replace(part, x=(part.x - mean) / std)) for part in splits))


def _deviation(x: Tensor) -> Tensor:
    """Standard deviation of each feature of `x: [n, ...]`, 1 where only rounding tells its values.

    A power of two, which rounds nothing, keeps the squares of huge and tiny features in range.
    """
    largest = x.abs().amax(0)
    width = x.amax(0) - x.amin(0)
    exponent = torch.frexp(width).exponent.clamp_min(_LEAST_EXPONENT).to(x)
    std = torch.ldexp(torch.ldexp(x, -exponent).std(0, correction=0), exponent)
    return torch.where(width > _ULPS * torch.finfo(x.dtype).eps * largest, std, 1.0)


def in_single_precision(data: Dataset) -> Dataset:
    """The same data; those in double precision are rounded to single.

    Args:
        data: of any kind.

    Raises:
        DataError: for numbers that single precision does not hold.
    """
    if data.x.dtype != torch.float64:
        return data
    if (largest := data.x.abs().max().item()) > torch.finfo(torch.float32).max:
        raise DataError(
            f"{data.name}: inputs reach {largest:.1e}, more than single precision holds; divide "
            "them by a constant"
        )
    return replace(data, x=data.x.float())


def _check_same(name: str, splits: Splits) -> None:
    first = splits.train
    for part, data in splits._asdict().items():
        for key in ("shape", "classes", "image"):
            if (wanted := getattr(first, key)) != (got := getattr(data, key)):
                raise DataError(f"{name}: train has {key} {wanted}, and {part} has {got}")
    if first.classes < 2:
        raise DataError(f"{name}: there is only one class; a classifier needs at least two")


# Labels ------------------------------------------------------------------------------------------


def _labels(
    name: str, parts: Mapping[str, Part], notes: list[str]
) -> tuple[list[str], dict[str, Tensor]]:
    """The names of the classes, and the class number of each sample of every part."""
    given = {key: _flat(f"{name}, {key}" if key else name, part.y) for key, part in parts.items()}
    values = np.unique(np.concatenate(list(given.values())))
    named = next((part.class_names for part in parts.values() if part.class_names), ())
    whole = values.dtype.kind in "iu"
    if whole and named and values[0] >= 0 and values[-1] < len(named):
        values = np.arange(len(named))
    _check_seen(name, given)
    names = list(named) if len(named) == len(values) else [str(value) for value in values.tolist()]
    if not whole or values[0] != 0 or values[-1] != len(values) - 1:
        shown = ", ".join(f"{value} is {i}" for i, value in enumerate(values.tolist()[:5]))
        notes.append(f"labels are numbered in sorted order: {shown}{', ...' * (len(values) > 5)}")
    numbered = {key: torch.from_numpy(np.searchsorted(values, y)) for key, y in given.items()}
    notes += _absent(names, numbered)
    return names, numbered


def _absent(names: list[str], numbered: Mapping[str, Tensor]) -> Iterator[str]:
    """Which classes have no sample in a part."""
    for key, labels in numbered.items():
        absent = sorted(set(range(len(names))) - set(labels.tolist()))
        if absent:
            shown = ", ".join(names[number] for number in absent[:5]) + ", ..." * (len(absent) > 5)
            kind = "class" + "es" * (len(absent) > 1)
            where = f"the {key} set has" if key else "the data have"
            yield f"{where} no sample of the {kind} {shown}"


def _check_seen(name: str, given: Mapping[str, np.ndarray[Any, Any]]) -> None:
    learned = set(given.get("train", given.get("", np.array([]))).tolist())
    for key, labels in given.items():
        if learned and (unseen := sorted(set(labels.tolist()) - learned)):
            raise DataError(
                f"{name}, {key}: the label {unseen[0]!r} is on no sample of the training set"
            )


def _flat(where: str, y: Any) -> np.ndarray[Any, Any]:
    """Labels `[n]`: whole numbers or text."""
    try:
        labels = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: the labels are no table: {error}") from error
    if labels.dtype == object:
        if not all(isinstance(value, str) for value in labels.ravel()):
            raise DataError(f"{where}: labels must be whole numbers or text, got Python objects")
        labels = labels.astype(str)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind in "US" and labels.ndim == 1 and len(labels):
        return np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "f" and labels.ndim == 1:
        whole = (labels == np.round(labels)) & (np.abs(labels) < _LARGEST_LABEL)
        if not whole.all():
            raise DataError(
                f"{where}: labels must be classes, got real numbers like {labels[~whole][0]}; bin "
                "them first, like numpy.digitize(y, edges)"
            )
        labels = labels.astype(np.int64)
    try:
        return check_labels(labels).cpu().numpy()
    except InputError as error:
        raise DataError(f"{where}: {error}") from error
