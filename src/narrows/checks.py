"""The checks of user input: one function for each kind of value that the library takes.

| function        | takes                                    | returns                            |
|-----------------|------------------------------------------|------------------------------------|
| `as_tensor`     | a tensor, a NumPy array or nested lists  | a tensor                           |
| `check_dense`   | a tensor of any layout                   | the same if it is dense            |
| `check_images`  | images in [0, 1]                         | floating point `[n, ...]`          |
| `check_labels`  | class numbers of any integer type        | int64 `[n]`                        |
| `check_logits`  | what a classifier returns for n images   | floating point `[..., n, classes]` |
| `check_samples` | samples of a random vector               | float64 `[n, K]`                   |
| `check_joint`   | a joint distribution p(x, y)             | float64 `[X, Y]` that sums to 1    |
| `check_count`   | a whole number with a smallest value     | int                                |
| `check_number`  | a finite real number in a range          | float                              |
| `check_path`    | a path or its text                       | `pathlib.Path`                     |

Each converts once, at the entrance of a public function, so that the code behind it may rely on the
result. An error says what was expected, what arrived, and what to write instead.

Values can only be looked at where there are any: on the meta device, inside `torch.vmap` and while
`torch.compile` traces, types and shapes are checked and values are not.
"""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from narrows.errors import ConfigError, InputError, NarrowsError

__all__ = [
    "ArrayLike",
    "as_tensor",
    "check_count",
    "check_dense",
    "check_images",
    "check_joint",
    "check_labels",
    "check_logits",
    "check_number",
    "check_path",
    "check_samples",
    "has_values",
]

ArrayLike = Tensor | np.ndarray[Any, Any] | Sequence[Any]
"""What `as_tensor` converts."""

_functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
_LARGEST = 1e150  # the square of a larger number overflows float64
_SUM = 1e-6  # by which the sum of a joint distribution may differ from 1


def as_tensor(value: ArrayLike, name: str) -> Tensor:
    """Convert a NumPy array or nested lists to a tensor; a tensor is returned unchanged.

    Args:
        value: what the user gave.
        name: how errors call it.

    Raises:
        InputError: for text, a set, lists of unequal length, complex numbers, a sparse tensor.

    >>> as_tensor([[0.0, 1.0]], "x")
    tensor([[0., 1.]], dtype=torch.float64)
    """
    if isinstance(value, Tensor):
        if value.is_complex():
            raise InputError(f"{name} must hold real numbers, got {_describe(value)}")
        return check_dense(value, name)
    array = _as_array(value, name)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must hold real numbers, got {array.dtype} {list(array.shape)}")
    if array.dtype == np.longdouble and array.dtype != np.float64:
        array = array.astype(np.float64)
    # PyTorch cannot share memory that is read-only, byte-swapped or strided backwards.
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C", copy=True))


def _as_array(value: object, name: str) -> np.ndarray[Any, Any]:
    if isinstance(value, (str, bytes, dict, set)) or value is None:
        raise _not_an_array(name, value)
    if isinstance(value, Sequence) and value and all(isinstance(row, Tensor) for row in value):
        try:
            return torch.stack([row.detach().cpu() for row in value]).numpy()
        except (RuntimeError, TypeError) as error:
            raise InputError(f"{name} is a list of tensors of unequal form: {error}") from error
    if np.ma.is_masked(value):
        raise InputError(f"{name} has masked numbers; leave those samples out or fill them in")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} is not a table of numbers: {error}") from error
    if array.dtype == object:
        raise _not_an_array(name, value)
    return array


def _not_an_array(name: str, value: object) -> InputError:
    objects = "; an array of Python objects is none: write .astype(float)"
    return InputError(
        f"{name} must be a torch.Tensor, a NumPy array or nested lists of numbers, "
        f"got {type(value).__name__}{objects * hasattr(value, '__array__')}"
    )


def check_dense(tensor: Tensor, name: str, *, present: bool = False) -> Tensor:
    """Return a tensor that stores all its numbers side by side.

    Args:
        tensor: of any layout.
        name: how errors call it.
        present: whether it must hold numbers, which a tensor on the meta device does not.

    Raises:
        InputError: for a sparse, nested or quantized tensor, with the conversion to write.
    """
    if present and tensor.is_meta:
        raise InputError(f"{name} must hold numbers; a tensor on the meta device has none")
    if tensor.is_quantized:
        raise InputError(f"{name} must not be quantized; write .dequantize()")
    if tensor.is_nested or tensor.layout != torch.strided:
        write = "torch.nested.to_padded_tensor(..., 0.0)" if tensor.is_nested else ".to_dense()"
        raise InputError(f"{name} must be a dense tensor; write {write}")
    return tensor


def has_values(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor can be looked at."""
    return not (
        tensor.is_meta
        or torch.compiler.is_compiling()
        or _functorch.is_functorch_wrapped_tensor(tensor)
    )


def check_images(x: ArrayLike, name: str = "images", *, like: Tensor | None = None) -> Tensor:
    """Return images `[n, ...]`, floating point and in [0, 1], detached.

    Args:
        x: the images.
        name: how errors call them.
        like: a tensor, such as a weight of the model, whose floating point type and device images
            take that do not arrive as a tensor.

    Raises:
        InputError: for another type or shape, no images, NaN, or values outside [0, 1].

    >>> check_images([[0.0, 255.0]])
    Traceback (most recent call last):
        ...
    narrows.errors.InputError: images must lie in [0, 1], got values from 0 to 255; \
divide 0-255 images by 255, and make any normalisation part of the model
    """
    images = as_tensor(x, name).detach()
    if not isinstance(x, Tensor) and images.is_floating_point():
        kind = torch.get_default_dtype() if like is None else like.dtype
        images = images.to("cpu" if like is None else like.device, kind)
    if not images.is_floating_point() or images.dim() < 2:
        hint = "; divide 0-255 images by 255" if images.dim() >= 2 else ""
        raise InputError(
            f"{name} must be floating point [n, ...] in [0, 1], got {_describe(images)}{hint}"
        )
    if not images.numel():
        raise InputError(f"{name} are empty, {list(images.shape)}; at least one is needed")
    if has_values(images):
        low, high = (bound.item() for bound in images.aminmax())
        if not (low >= 0 and high <= 1):  # NaN fails the comparison too
            raise InputError(
                f"{name} must lie in [0, 1], got values from {low:.4g} to {high:.4g}; "
                "divide 0-255 images by 255, and make any normalisation part of the model"
            )
    return images


def check_labels(
    y: ArrayLike, count: int | None = None, classes: int | None = None, name: str = "labels"
) -> Tensor:
    """Return class numbers as int64 `[n]`, on the device that they came on.

    Args:
        y: of any integer type.
        count: how many there must be; `None` for any number.
        classes: they must lie in `0..classes-1`; `None` to accept any integer.
        name: how errors call them.

    Raises:
        InputError: for floating point or one-hot labels, another shape or number, or a label that
            is out of range, each with what to write instead.

    >>> check_labels([2, 0])
    tensor([2, 0])
    """
    labels = as_tensor(y, name).detach()
    if labels.dim() != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        size = "n" if count is None else count
        raise InputError(
            f"{name} must be integers [{size}], got {_describe(labels)}{_hint(labels, name)}"
        )
    if count is not None and len(labels) != count:
        raise InputError(f"expected one of {name} for each of {count} samples, got {len(labels)}")
    if not len(labels):
        raise InputError(f"{name} are empty; at least one is needed")
    if labels.dtype in (torch.uint16, torch.uint32, torch.uint64):
        labels = labels.to(torch.int64)  # which have no minimum in PyTorch
    if classes is not None and has_values(labels):
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= classes:
            hint = "; leave out the samples whose label is negative" if low < 0 else ""
            raise InputError(f"{name} must lie in 0..{classes - 1}, got {low}..{high}{hint}")
    return labels.to(torch.int64)


def _hint(labels: Tensor, name: str) -> str:
    if labels.dim() == 2 and labels.shape[1] == 1:
        return f"; write {name}.squeeze(1)"
    if labels.dim() == 2:
        return f"; for one-hot labels write {name}.argmax(1)"
    return f"; write {name}.long()" if labels.dim() == 1 else ""


def check_logits(logits: Tensor, count: int, *, least_classes: int = 2) -> Tensor:
    """Return a classifier's output `[..., count, classes]` for `count` inputs.

    Minus infinity is a probability of zero and is accepted.

    Args:
        logits: what the model returned, after `narrows.models.as_output`.
        count: number of inputs that the model was given.
        least_classes: fewest classes that make sense here.

    Raises:
        InputError: for another shape, a single logit, integers, NaN or plus infinity.
    """
    if logits.dim() < 2 or logits.shape[-2] != count:
        raise InputError(
            f"a model must return logits [{count}, classes] for {count} inputs, "
            f"got {list(logits.shape)}"
        )
    if not logits.is_floating_point():
        raise InputError(
            f"a model must return floating point logits, got {logits.dtype}: return the scores "
            "that the decision is made from"
        )
    if logits.shape[-1] == 1 < least_classes:
        raise InputError(
            "a model must return one logit for each class, got a single one; for a binary model "
            "write torch.cat([torch.zeros_like(logit), logit], -1), whose classes are 0 and 1"
        )
    if logits.shape[-1] < least_classes:
        raise InputError(
            f"at least {least_classes} classes are needed here, the model has {logits.shape[-1]}"
        )
    if has_values(logits):
        bad = (logits.isnan() | (logits == math.inf)).any(-1)
        if bad.any():
            rows = bad.reshape(-1, count).any(0)
            raise InputError(
                f"the model returned NaN or infinity for {int(rows.sum())} of {count} inputs, the "
                f"first of them number {int(rows.nonzero()[0])}"
            )
    return logits


def check_samples(z: ArrayLike, name: str = "z", *, fewest: int = 2) -> Tensor:
    """Return samples `[n, K]` of a random vector as float64, detached.

    Args:
        z: real numbers of any type; one column may be given as `[n]`.
        name: how errors call them.
        fewest: samples that are needed.

    Raises:
        InputError: for another shape, too few samples, no columns, or squares that are not finite.
    """
    samples = as_tensor(z, name).detach()
    if samples.dim() == 1:
        samples = samples[:, None]
    if samples.dim() != 2:
        hint = f"; write {name}.flatten(1)" if samples.dim() > 2 else ""
        raise InputError(f"{name} must be real numbers [n, K], got {_describe(samples)}{hint}")
    if not samples.shape[1]:
        raise InputError(f"{name} is {list(samples.shape)} and has no columns to measure")
    if len(samples) < fewest:
        raise InputError(f"{name} holds {len(samples)} samples; at least {fewest} are needed")
    whole = not samples.is_floating_point()
    samples = samples.to(torch.float64)
    if has_values(samples):
        if not torch.isfinite(samples).all():
            raise InputError(f"{name} holds NaN or infinity; leave those samples out")
        if (largest := samples.abs().max().item()) > (2.0**53 if whole else _LARGEST):
            why = "which float64 rounds; subtract" if whole else "whose squares overflow; divide by"
            raise InputError(f"{name} holds values up to {largest:.1e}, {why} a constant")
    return samples


def check_joint(joint: ArrayLike, name: str = "joint") -> Tensor:
    """Return a joint distribution `[X, Y]` as float64 on the CPU, normalised to a sum of 1.

    Raises:
        InputError: for another shape, negative numbers, NaN, infinity, or a sum that is not 1.
    """
    table = as_tensor(joint, name).detach()
    if table.dim() != 2 or not table.numel():
        raise InputError(f"{name} must be probabilities p(x, y) [X, Y], got {_describe(table)}")
    table = table.to("cpu", torch.float64)
    if not torch.isfinite(table).all() or (table < 0).any():
        raise InputError(f"{name} holds negative numbers, NaN or infinity")
    total = table.sum().item()
    if abs(total - 1) > _SUM:
        hint = f"; divide counts by their sum: {name} / {name}.sum()" if total > 0 else ""
        raise InputError(f"{name} must sum to 1, got {total:.6g}{hint}")
    return table / total


def check_count(
    value: object, name: str, smallest: int = 1, error: type[NarrowsError] = ConfigError
) -> int:
    """Return a whole number that is at least `smallest`.

    NumPy's integers are accepted, and neither booleans nor floats, nor a number in quotes.

    Args:
        value: what the user gave.
        name: how errors call it.
        smallest: the least number that makes sense.
        error: class of the error.

    Raises:
        ConfigError: or `error`, saying what arrived.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise error(f"{name} must be a whole number, got {value!r}")
    if value < smallest:
        raise error(f"{name} must be at least {smallest}, got {value}")
    return int(value)


def check_number(
    value: object,
    name: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float | None = None,
    error: type[NarrowsError] = ConfigError,
) -> float:
    """Return a finite number in `[low, high]`, and larger than `above` where that is given.

    Args:
        value: what the user gave.
        name: how errors call it.
        low: least number that is accepted.
        high: largest number that is accepted.
        above: a number that is too small itself.
        error: class of the error.

    Raises:
        ConfigError: or `error`, saying what arrived.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise error(f"{name} must be a number, got {value!r}")
    number = float(value)
    if math.isfinite(number) and low <= number <= high and (above is None or number > above):
        return number
    wanted = ["finite"]
    if above is not None:
        wanted.append(f"larger than {above:g}")
    elif low > -math.inf:
        wanted.append(f"at least {low:g}")
    if high < math.inf:
        wanted.append(f"at most {high:g}")
    listed = " and ".join(filter(None, [", ".join(wanted[:-1]), wanted[-1]]))
    raise error(f"{name} must be {listed}, got {number:g}")


def check_path(path: str | os.PathLike[str], name: str = "path") -> Path:
    """Return a path; its text is accepted too.

    Raises:
        ConfigError: for anything else, an empty text, a null character, or bytes that are no UTF-8.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigError(f"{name} must be a path, got {type(path).__name__}")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or re.search("[\0\ud800-\udfff]", text):
        raise ConfigError(f"{name} must be a path in UTF-8, got {text!r}")
    return Path(text)


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
