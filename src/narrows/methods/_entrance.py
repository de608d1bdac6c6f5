"""Checks of a method that is called by a user's own training loop: its inputs and its loss.

A training run checks its data set once and does not use these checks. They check every batch: the
inputs, the labels against the classes of the model, and the loss.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from narrows.checks import (
    ArrayLike,
    as_tensor,
    check_dense,
    check_images,
    check_labels,
    check_logits,
    has_values,
)
from narrows.errors import DivergedError, InputError
from narrows.models.binary_stochastic import BinaryStochasticNet
from narrows.models.layers import unwrapped
from narrows.models.outputs import as_output, pack, unpack
from narrows.models.precision import at_least_float32
from narrows.models.tap import Tap
from narrows.types import Batch, LossTerms, ModelOutput

__all__ = ["check_batch", "check_inputs", "classes_checked", "finite_total", "in_full_precision"]

_BRIGHT = 100  # of inputs from 0 to 255 that are images; other features are rarely like that


def check_batch(model: nn.Module, x: ArrayLike, y: ArrayLike, *, images: bool = False) -> Batch:
    """Inputs `[batch, ...]` as the model takes them, and int64 labels `[batch]`.

    Args:
        model: inputs that are no tensors get the type and device of its weights.
        x: a tensor, a NumPy array or nested lists.
        y: class numbers of any integer type.
        images: whether inputs must lie in [0, 1], as those of an attack must.

    Raises:
        InputError: for labels that are no class numbers, another number of labels than of inputs,
            and inputs that hold NaN or infinity, or lie outside [0, 1] where they must not.
    """
    inputs = check_inputs(model, x, images=images)
    labels = check_labels(y, len(inputs))
    if not isinstance(y, Tensor):
        labels = labels.to(inputs.device)
    if labels.is_meta != inputs.is_meta:
        check_dense(inputs, "inputs", present=True)
        check_dense(labels, "labels", present=True)
    if has_values(labels) and (low := int(labels.min())) < 0:
        raise InputError(
            f"labels must be at least 0, got {low}; leave out the samples whose label is negative"
        )
    return Batch(inputs, _trainable(labels))


def check_inputs(model: nn.Module, x: ArrayLike, *, images: bool = False) -> Tensor:
    """Inputs `[batch, ...]` as the model takes them.

    Args:
        model: inputs that are no tensors get the type and device of its weights.
        x: a tensor, a NumPy array or nested lists.
        images: whether inputs must lie in [0, 1].

    Raises:
        InputError: for no inputs, NaN or infinity, and values outside [0, 1] where they must not.
    """
    inputs = as_tensor(x, "inputs")
    weight = next(model.parameters(), None)
    if not isinstance(x, Tensor):
        kind = torch.get_default_dtype() if weight is None else weight.dtype
        device = inputs.device if weight is None else weight.device
        inputs = inputs.to(device, kind if inputs.is_floating_point() else None)
    if images:
        check_images(inputs, "inputs")
    if not inputs.dim() or not len(inputs):
        raise InputError(f"inputs must be [batch, ...], at least one, got {list(inputs.shape)}")
    if inputs.is_floating_point() and has_values(inputs):
        low, high = (bound.item() for bound in inputs.detach().aminmax())
        if not math.isfinite(high - low):
            raise InputError("inputs hold NaN or infinity; leave those samples out")
        if low >= 0 and _BRIGHT < high <= 255:
            _warn_of_range()
    return _trainable(inputs)


def _trainable(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of one that was made in inference mode and can have no gradient."""
    made_there = tensor.is_inference() and not torch.is_inference_mode_enabled()
    return tensor.clone() if made_there else tensor


@cache
def _warn_of_range() -> None:
    """Warn once: such a loss is finite and large, and its weights no longer mean what they say."""
    logging.getLogger(__name__).warning(
        "inputs look like images in 0..255; divide them by 255, or the loss is dominated by their "
        "size"
    )


@contextmanager
def classes_checked(model: nn.Module, batch: Batch) -> Iterator[None]:
    """Compare the labels with the classes of the model when the block runs the model.

    The number of classes is known from the first output, or from a binary network directly.

    Raises:
        InputError: for a label that is no class of the model, an output of another shape than
            `[batch, classes]`, and inputs of a type that the model does not take.
    """
    highest = int(batch.y.max()) if has_values(batch.y) else -1

    def compare(classes: int) -> None:
        if highest >= classes:
            check_labels(batch.y, classes=classes)

    def hook(module: nn.Module, args: object, result: object) -> None:
        logits = as_output(result).logits
        if not batch.x.is_meta:
            check_dense(logits, "logits", present=True)
        # A tensor without values: only shape and type are checked.
        check_logits(torch.empty(logits.shape, dtype=logits.dtype, device="meta"), len(batch.y))
        compare(logits.shape[-1])

    inner = unwrapped(model)
    inner = unwrapped(inner.model) if isinstance(inner, Tap) else inner
    if isinstance(inner, BinaryStochasticNet):
        compare(inner.linear_layers()[-1].out_features)
    plain = isinstance(inner, (BinaryStochasticNet, torch.jit.ScriptModule))
    handle = None if plain or highest < 0 else model.register_forward_hook(hook)
    try:
        yield
    except RuntimeError as error:
        raise _explained(model, batch.x, error) from error
    finally:
        if handle is not None:
            handle.remove()


def _explained(model: nn.Module, x: Tensor, error: RuntimeError) -> Exception:
    """The error, or a clearer one where the model or the type of the inputs caused it."""
    if "Inference tensors" in str(error):
        return InputError(
            f"{type(model).__name__} was made in inference mode, where nothing has a gradient; "
            "make it, or copy.deepcopy(model), outside of torch.inference_mode()"
        )
    weight = next(model.parameters(), None)
    if weight is None or weight.dtype == x.dtype or "type" not in str(error):
        return error
    images = " / 255" if x.dtype == torch.uint8 else ""
    name = str(weight.dtype).removeprefix("torch.")
    return InputError(
        f"{type(model).__name__} has weights of {name} and got inputs of "
        f"{str(x.dtype).removeprefix('torch.')}: {str(error).splitlines()[0]}; "
        f"write x.to(torch.{name}){images}"
    )


def in_full_precision(output: ModelOutput) -> ModelOutput:
    """The output with half precision converted to float32; any other type is unchanged."""
    return unpack({name: at_least_float32(value) for name, value in pack(output).items()})


def finite_total(method: str, terms: LossTerms, x: Tensor) -> Tensor:
    """The loss, a finite scalar.

    Args:
        method: name for errors.
        terms: the parts of the loss.
        x: the inputs, whose range the error names.

    Raises:
        DivergedError: naming the term that is not finite, with the range of the inputs.
    """
    total = terms.total
    if not has_values(total) or math.isfinite(total.item()):
        return total
    parts = {"prediction loss": (terms.prediction, 1.0), **terms.regularisers}
    sizes = {
        name: (value.item(), float(torch.as_tensor(weight).detach()))
        for name, (value, weight) in parts.items()
    }
    infinite = [name for name, pair in sizes.items() if not math.isfinite(math.prod(pair))]
    name = infinite[0] if infinite else max(sizes, key=lambda name: abs(math.prod(sizes[name])))
    size, weight = sizes[name]
    low, high = (bound.item() for bound in x.detach().aminmax())
    hint = "divide 0-255 images by 255, or " if high > 1 else ""
    raise DivergedError(
        f"the loss of {method} is {total.item():g}: its {name} is {size:g} at a weight of "
        f"{weight:g}, on inputs from {low:.4g} to {high:.4g}; {hint}lower the learning rate or beta"
    )
