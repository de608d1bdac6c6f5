"""Intervals that go through a network: what each value can be anywhere in a box of images.

    affine y = W x + b:   centre W c + b, radius |W| r;     monotone h:   [h(low), h(high)]

The network runs as it is, on a tensor that carries a radius. A function that this file does not
know ends it: then there is no bound, and none is invented.

Source: Gowal et al. (2018), arXiv 1810.12715, eq. 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from narrows.audit._lines import RECTIFIERS, Layer
from narrows.models.outputs import logits_of

__all__ = ["UnboundedError", "interval_logits"]


class UnboundedError(Exception):
    """There is no bound of what the model does."""


class Interval(Tensor):
    """The centre of an interval, with its radius and what was met on the way."""

    radius: Tensor
    met: _Met
    shares: bool  # memory with another interval

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        kwargs = kwargs or {}
        if name in _ASKED or (name == "__get__" and _asked_property(func)):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        rule = _RULES.get(_IN_PLACE.get(name, name))
        if rule is None or not isinstance(args[0], Interval):
            raise UnboundedError(f"nothing is known of {name or func}")
        with torch._C.DisableTorchFunctionSubclass():
            if name in _IN_PLACE:
                return _in_place(_IN_PLACE[name], rule, args[0], args[1:], kwargs)
            return rule(func, args[0], args[1:], kwargs)


class _Met:
    """What intervals have met: the inputs of rectifiers, and whether all else was affine."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.straight = True


def interval_logits(model: nn.Module, low: Tensor, high: Tensor) -> tuple[Layer, list[Layer], bool]:
    """Bounds of the logits, of the input of each rectifier, and whether all else is affine.

    Args:
        model: in evaluation mode.
        low: `[n, ...]`, smallest values of the images.
        high: their largest ones.

    Raises:
        UnboundedError: for a model in which anything is unknown.
    """
    met = _Met()
    try:
        result = logits_of(model, _interval((low + high) / 2, (high - low) / 2, met))
    except UnboundedError:
        raise
    except Exception as error:  # whatever a third-party model raises for an unusual tensor
        raise UnboundedError(str(error)) from error
    if not isinstance(result, Interval):
        raise UnboundedError("the intervals are lost on the way")
    with torch._C.DisableTorchFunctionSubclass():
        centre, radius = result.as_subclass(Tensor), result.radius
        return Layer(centre - radius, centre + radius), met.layers, met.straight


def _interval(centre: Tensor, radius: Tensor, met: _Met, shares: bool = False) -> Interval:
    made = centre.as_subclass(Interval)
    made.radius, made.met, made.shares = radius, met, shares
    return made


def _in_place(name: str, rule: _Rule, x: Interval, rest: Any, kwargs: Any) -> Interval:
    """What `rule` makes of `x`, written into it: the model may use it again."""
    if x.shares:
        raise UnboundedError("a part of a tensor is changed in place")
    made = rule(getattr(torch, name), x, rest, kwargs)
    x.as_subclass(Tensor).copy_(made.as_subclass(Tensor))
    x.radius = made.radius
    return x


def _parts(x: Interval) -> tuple[Tensor, Tensor]:
    return x.as_subclass(Tensor), x.radius


def _plain(values: Any) -> None:
    if any(isinstance(value, Interval) for value in values):
        raise UnboundedError("a product of two intervals is not bounded")


def _weighted(func: Any, x: Interval, rest: Any, kwargs: Any) -> Interval:
    """Linear and convolutional layers: `func(x, weight, bias, ...)`."""
    _plain((*rest, *kwargs.values()))
    centre, radius = _parts(x)
    given = dict(zip(("weight", "bias"), rest, strict=False)) | kwargs
    more = rest[2:]
    weight, bias = given.pop("weight"), given.pop("bias", None)
    wide = func(radius, weight.abs(), None, *more, **given)
    return _interval(func(centre, weight, bias, *more, **given), wide, x.met)


def _batch_norm(func: Any, x: Interval, rest: Any, kwargs: Any) -> Interval:
    centre, radius = _parts(x)
    if kwargs.get("training") or (len(rest) > 4 and rest[4]):
        raise UnboundedError("batch normalisation in training mode")
    moved = func(centre, *rest, **kwargs)
    with torch.no_grad():
        zero = func(torch.zeros_like(centre), *rest, **kwargs)
        wide = (func(radius, *rest, **kwargs) - zero).abs()
    return _interval(moved, wide, x.met)


def _spread(func: Any, x: Interval, rest: Any, kwargs: Any) -> Interval:
    """What moves values about, or averages them."""
    _plain((*rest, *kwargs.values()))
    centre, radius = _parts(x)
    moved, wide = func(centre, *rest, **kwargs), func(radius, *rest, **kwargs)
    return _interval(moved, wide, x.met, shares=True)


def _shift(func: Any, x: Interval, rest: Any, kwargs: Any) -> Interval:
    if kwargs:
        raise UnboundedError("a sum with a factor")
    centre, radius = _parts(x)
    other = rest[0]
    if isinstance(other, Interval):
        apart, wide = _parts(other)
        return _interval(func(centre, apart), radius + wide, x.met)
    moved = func(centre, other)
    return _interval(moved, radius.expand_as(moved), x.met)


def _scale(func: Any, x: Interval, rest: Any, kwargs: Any) -> Interval:
    if kwargs:
        raise UnboundedError("a quotient that is rounded")
    _plain(rest)
    centre, radius = _parts(x)
    return _interval(func(centre, *rest), func(radius, *rest).abs(), x.met)


def _monotone(func: Any, x: Interval, rest: Any, kwargs: Any) -> Interval:
    _plain((*rest, *kwargs.values()))
    centre, radius = _parts(x)
    low, high = centre - radius, centre + radius
    if func in RECTIFIERS:
        x.met.layers.append(Layer(low, high))
        low, high = low.clamp_min(0), high.clamp_min(0)
    else:
        x.met.straight = False
        low, high = func(low, *rest, **kwargs), func(high, *rest, **kwargs)
    return _interval((low + high) / 2, (high - low) / 2, x.met)


_Rule = Callable[[Any, Interval, Any, Any], Interval]

_IN_PLACE = {
    **{f"{name}_": name for name in ("add", "sub", "mul", "div", "relu")},
    **{f"__i{name}__": name for name in ("add", "sub", "mul")},
}

_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), _weighted),
    "batch_norm": _batch_norm,
    **dict.fromkeys(
        (
            *("flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze"),
            *("avg_pool2d", "adaptive_avg_pool2d", "mean", "contiguous", "clone", "unflatten"),
            *("to", "float", "double", "__getitem__", "expand", "view_as"),
        ),
        _spread,
    ),
    **dict.fromkeys(("add", "sub", "__add__", "__sub__"), _shift),
    **dict.fromkeys(("mul", "div", "__mul__", "__truediv__", "true_divide"), _scale),
    **dict.fromkeys(
        (
            *("relu", "max_pool2d", "sigmoid", "tanh", "leaky_relu", "hardtanh"),
            *("softplus", "elu", "relu6", "clamp", "clamp_min", "clamp_max"),
        ),
        _monotone,
    ),
    # Functions of Python that only call one of these: `dropout` in evaluation mode does nothing.
    "dropout": lambda func, x, rest, kwargs: _dropout(x, rest, kwargs),
}

_ASKED = ("size", "dim", "numel", "is_floating_point", "is_complex", "__len__", "ndimension")
_PROPERTIES = ("shape", "dtype", "device", "ndim", "requires_grad", "layout")
_PROPERTIES += ("is_sparse", "is_quantized", "is_nested", "is_meta")


def _dropout(x: Interval, rest: Any, kwargs: Any) -> Interval:
    if kwargs.get("training", rest[1] if len(rest) > 1 else True):
        raise UnboundedError("dropout that is on")
    return x


def _asked_property(func: Any) -> bool:
    return getattr(getattr(func, "__self__", None), "__name__", "") in _PROPERTIES
