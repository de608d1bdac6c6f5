"""Read hidden layers of anybody's module, without changing it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from narrows.errors import ConfigError, InputError
from narrows.models.outputs import as_output
from narrows.types import Latent, ModelOutput

__all__ = ["Tap", "tap"]


class Tap(nn.Module):
    """A module that returns the outputs of named layers beside the logits; see `tap`."""

    def __init__(self, model: nn.Module, layers: Sequence[str], latent: str | None) -> None:
        super().__init__()
        self.model = model
        self.layers = tuple(layers)
        self.latent = latent

    def forward(self, x: Tensor) -> ModelOutput:
        """Run the model once, collecting what the layers return on the way."""
        seen: dict[str, Tensor] = {}
        wanted = {*self.layers, *([self.latent] if self.latent else [])}
        handles = [
            self.model.get_submodule(name).register_forward_hook(_keep(name, seen))
            for name in wanted
        ]
        try:
            output = as_output(self.model(x))
        finally:
            for handle in handles:
                handle.remove()
        if unseen := sorted(wanted - seen.keys()):
            raise InputError(f"the forward pass of the model never runs its layer {unseen[0]!r}")
        latent = output.latent
        if self.latent:
            z = seen[self.latent].flatten(1)
            latent = Latent(z=z, mean=z)
        activations = {**output.activations, **{name: seen[name] for name in self.layers}}
        return ModelOutput(output.logits, latent, activations)

    def extra_repr(self) -> str:
        """Show what is read."""
        return f"layers={self.layers}, latent={self.latent!r}"


def _keep(name: str, seen: dict[str, Tensor]) -> Callable[[nn.Module, object, object], Tensor]:
    def hook(module: nn.Module, args: object, result: object) -> Tensor:
        if not isinstance(result, Tensor):
            raise InputError(
                f"layer {name!r} returns {type(result).__name__}, only tensors can be read"
            )
        seen[name] = result
        # What follows gets a copy: an in-place activation would change what was read here.
        return result.clone()

    return hook


def tap(model: nn.Module, layers: Sequence[str], *, latent: str | None = None) -> Tap:
    """Make any module return `ModelOutput(logits, latent, activations)`.

    Args:
        model: any classifier; its weights are shared, not copied.
        layers: names as in `model.named_modules()`, whose outputs appear in `activations`; that of
            the last call where the model calls one of them several times.
        latent: the layer whose (flattened) output counts as the bottleneck's code, if any.

    Raises:
        ConfigError: for a layer that the model does not have, naming the nearest ones.
        InputError: in the forward pass, for a layer that isn't run or doesn't return a tensor.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> tap(net, ["1"])(torch.rand(5, 4)).activations["1"].shape
        torch.Size([5, 3])
    """
    names = [name for name, _ in model.named_modules() if name]
    for layer in [*layers, *([latent] if latent else [])]:
        if layer not in names:
            near = difflib.get_close_matches(layer, names, n=5, cutoff=0.3) or names[:5]
            hint = f"nearest: {', '.join(near)}" if near else "it has no named layers at all"
            raise ConfigError(f"the model has no layer {layer!r}; {hint}")
    return Tap(model, layers, latent)
