"""What a defence is put around: the classifier inside a model, and a readout of its features.

| part  | what it is                                                                           |
|-------|--------------------------------------------------------------------------------------|
| core  | the innermost module that is given images and returns one score for each class       |
| probe | `W h(x) + b`, fitted by ridge regression to labels, on the last features `h(x)`      |

A core sees what the model gives it, and its gradient goes to the image as if nothing lay between. A
probe replaces everything after the features. Neither is the model: attacks on them are transferred.

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420, whose BPDA puts the identity in the
place of preprocessing; Tramer et al. (2020), arXiv 2002.08347, who attack features where the
output misleads.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.models.outputs import as_output, logits_of

__all__ = [
    "Core",
    "PassThrough",
    "Probe",
    "classifiers_in",
    "core_of",
    "fit_probe",
    "outputs_of",
]

_RIDGE = 1e-2


class PassThrough(torch.autograd.Function):
    """`value` forward, the identity of `x` backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        """Return a copy of `value`, of the shape of `x`."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, None]:
        """Return the gradient of the output."""
        return gradients[0], None


def outputs_of(
    model: nn.Module, x: Tensor, keep: Callable[[Tensor, Tensor], bool]
) -> dict[str, tuple[Tensor, Tensor]]:
    """First input and output of each module inside that `keep` accepts, in the order of their end.

    Args:
        model: is run once on `x`.
        x: `[n, ...]` images.
        keep: `(input, output) -> bool`.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def remember(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            with suppress(Exception):  # an output of another kind is not what is looked for
                logits = as_output(output).logits
                if given and isinstance(given[0], Tensor) and keep(given[0], logits):
                    seen.setdefault(name, (given[0], logits))

        return hook

    with ExitStack() as stack:
        for name, module in model.named_modules():
            with suppress(RuntimeError):  # a frozen or exported module takes no hooks
                if name:
                    stack.callback(module.register_forward_hook(remember(name)).remove)
        logits_of(model, x)
    return seen


def core_of(model: nn.Module, x: Tensor, classes: int) -> nn.Module | None:
    """The innermost module that takes images like `x: [n, ...]` and returns `[n, classes]`."""
    shape = (len(x), classes)
    seen = outputs_of(model, x, lambda given, out: given.shape == x.shape and out.shape == shape)
    deepest = max(seen, key=lambda name: name.count("."), default=None)
    return None if deepest is None else dict(model.named_modules())[deepest]


def classifiers_in(model: nn.Module, x: Tensor, classes: int) -> list[nn.Module]:
    """All innermost modules that take images like `x: [n, ...]` and return `[n, classes]`.

    They are found by trying each, since one that answers at few images may not be run on others.
    """
    fit: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        with suppress(Exception, SystemExit):  # whatever a module raises that takes no images
            if name and logits_of(module, x).shape == (len(x), classes):
                fit[name] = module
    outer = {part for name in fit for part in _above(name)}
    return [module for name, module in fit.items() if name not in outer]


def _above(name: str) -> list[str]:
    """Names of the modules that one lies in.

    >>> _above("a.b.c")
    ['a', 'a.b']
    """
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


class Core(nn.Module):
    """Scores of a classifier inside a model, for what the model gives it.

    Args:
        model: is run without a graph, to see what its core is given.
        core: one of its modules.
    """

    def __init__(self, model: nn.Module, core: nn.Module) -> None:
        super().__init__()
        self.model, self.core = model, core

    def forward(self, x: Tensor) -> Tensor:
        """Scores `[n, classes]` of the core."""
        received: list[Tensor] = []
        hook = self.core.register_forward_pre_hook(lambda _, given: received.append(given[0]))
        try:
            with torch.no_grad():
                logits_of(self.model, x)
        finally:
            hook.remove()
        shown = [given for given in received if given.shape == x.shape]
        return logits_of(self.core, PassThrough.apply(x, shown[-1].detach()) if shown else x)


class Probe(nn.Module):
    """A linear readout of the features of a model.

    Args:
        model: is run up to its end, of which nothing is used.
        layer: the module whose output the features are.
        weight: `[features + 1, classes]`, the last row of which is the bias.
    """

    def __init__(self, model: nn.Module, layer: nn.Module, weight: Tensor) -> None:
        super().__init__()
        self.model, self.layer, self.weight = model, layer, weight

    def forward(self, x: Tensor) -> Tensor:
        """Scores `[n, classes]`."""
        seen: list[Tensor] = []
        hook = self.layer.register_forward_hook(
            lambda _, given, output: seen.append(as_output(output).logits)
        )
        try:
            logits_of(self.model, x)
        finally:
            hook.remove()
        return _with_ones(seen[-1].to(self.weight.dtype)) @ self.weight


def fit_probe(model: nn.Module, x: Tensor, y: Tensor, classes: int) -> Probe | None:
    """Fit a probe to labels; None where no layer returns features that depend on the image.

    Args:
        model: in evaluation mode.
        x: `[n, ...]` images.
        y: `[n]` labels.
        classes: how many there are.
    """
    with torch.enable_grad():
        sample = x[:2].clone().requires_grad_()
        seen = outputs_of(
            model, sample, lambda given, out: out.dim() == 2 and len(out) == 2 and out.requires_grad
        )
    modules = dict(model.named_modules())
    wide = [name for name, (_, features) in seen.items() if features.shape[1] > classes]
    name = next(reversed(wide or list(seen)), None)
    if name is None:
        return None
    empty = Probe(model, modules[name], torch.zeros(0))
    with torch.no_grad():
        features = outputs_of(model, x, lambda given, out: len(out) == len(x)).get(name)
        if features is None:
            return None
        h = _with_ones(features[1].double())
        scale = h.square().mean()
        gram = h.T @ h / len(h) + _RIDGE * scale * torch.eye(h.shape[1]).to(h)
        target = F.one_hot(y, classes).double() - 1 / classes
        weight = torch.linalg.solve(gram, h.T @ target / len(h))
    empty.weight = weight.to(x.dtype)
    return empty


def _with_ones(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones_like(features[:, :1])], 1)
