"""Read hidden layers of anybody's module, without changing it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from torch import Tensor, nn

from narrows.errors import ConfigError
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

        def keep(name: str):
            def hook(module: nn.Module, args: object, result: Tensor) -> None:
                seen[name] = result

            return hook

        handles = [
            self.model.get_submodule(name).register_forward_hook(keep(name)) for name in wanted
        ]
        try:
            output = as_output(self.model(x))
        finally:
            for handle in handles:
                handle.remove()
        latent = output.latent
        if self.latent:
            z = seen[self.latent].flatten(1)
            latent = Latent(z=z, mean=z)
        activations = {**output.activations, **{name: seen[name] for name in self.layers}}
        return ModelOutput(output.logits, latent, activations)

    def extra_repr(self) -> str:
        """Show what is read."""
        return f"layers={self.layers}, latent={self.latent!r}"


def tap(model: nn.Module, layers: Sequence[str], *, latent: str | None = None) -> Tap:
    """Make any module return `ModelOutput(logits, latent, activations)`.

    Args:
        model: any classifier; its weights are shared, not copied.
        layers: names as in `model.named_modules()`, whose outputs appear in `activations`.
        latent: the layer whose (flattened) output counts as the bottleneck's code, if any.

    Raises:
        ConfigError: for a layer that the model does not have, naming the nearest ones.

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
            raise ConfigError(f"the model has no layer {layer!r}; nearest: {', '.join(near)}")
    return Tap(model, layers, latent)
