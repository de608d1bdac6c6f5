"""Layers of any module by name, also inside wrappers, and hooks on their outputs.

`DataParallel`, `DistributedDataParallel` and `torch.compile` wrap a model in another module, so
that its layer `fc1` becomes `module.fc1` or `_orig_mod.fc1`. Here both names are valid.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from narrows.errors import ConfigError

__all__ = ["Hook", "as_written", "hooked", "layer_of", "unwrapped"]

Hook = Callable[[nn.Module, Any, Any], Any]
"""A forward hook of torch: called with the layer, its arguments and its result."""

_INSIDE = ("module.", "_orig_mod.")


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's model inside its wrappers (compiled, distributed).

    Example:
        >>> unwrapped(nn.DataParallel(nn.Linear(2, 2)))
        Linear(in_features=2, out_features=2, bias=True)
    """
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def layer_of(model: nn.Module, name: str, role: str = "") -> nn.Module:
    """The layer of that name, as in `model.named_modules()` of the wrapped model or its wrapper.

    Args:
        model: any module.
        name: of the layer.
        role: purpose of the layer, for errors: `" to mask"`.

    Raises:
        ConfigError: for a name that the model does not have, naming the nearest ones.
    """
    layers = {label: module for label, module in unwrapped(model).named_modules() if label}
    inner = name
    while inner not in layers and inner.startswith(_INSIDE):
        inner = inner.partition(".")[2]
    if inner in layers:
        return layers[inner]
    near = difflib.get_close_matches(name, layers, n=5, cutoff=0.3) or list(layers)[:5]
    hint = f"nearest: {', '.join(near)}" if near else "it has no named layers at all"
    raise ConfigError(f"the model has no layer {name!r}{role}; {hint}")


@contextmanager
def hooked(model: nn.Module, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """Inside the block, call hooks with the outputs of named layers, which they may replace.

    Raises:
        ConfigError: for a layer that the model does not have.
    """
    layers = {name: layer_of(model, name) for name in hooks}
    handles = [layers[name].register_forward_hook(hook) for name, hook in hooks.items()]
    try:
        with as_written(model):
            yield
    finally:
        for handle in handles:
            handle.remove()


def as_written(model: nn.Module) -> AbstractContextManager[object]:
    """Inside the block, run a compiled model uncompiled: compiled code ignores new hooks."""
    compiled = any(hasattr(module, "_orig_mod") for module in model.modules())
    if torch.compiler.is_compiling() or not compiled:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
