"""Read hidden layers of any module, without changing it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from narrows.errors import InputError
from narrows.models.layers import Hook, hooked, layer_of
from narrows.models.outputs import as_output
from narrows.types import Latent, ModelOutput

__all__ = ["Tap", "tap"]


class Tap(nn.Module):
    """A module that returns the outputs of named layers with the logits; see `tap`."""

    def __init__(self, model: nn.Module, layers: Sequence[str], latent: str | None) -> None:
        super().__init__()
        self.model = model
        self.layers = tuple(layers)
        self.latent = latent

    def forward(self, x: Tensor) -> ModelOutput:
        """Run the model once and collect the outputs of the layers."""
        seen: dict[str, Tensor] = {}
        wanted = {*self.layers, *([self.latent] if self.latent else [])}
        with hooked(self.model, {name: _keep(name, seen) for name in wanted}):
            output = as_output(self.model(x))
        if unseen := sorted(wanted - seen.keys()):
            raise InputError(f"the forward pass of the model never runs its layer {unseen[0]!r}")
        latent = output.latent
        if self.latent:
            z = seen[self.latent].flatten(1)
            latent = Latent(z=z, mean=z)
        activations = {**output.activations, **{name: seen[name] for name in self.layers}}
        return ModelOutput(output.logits, latent, activations)

    def extra_repr(self) -> str:
        """The layers that are read."""
        return f"layers={self.layers}, latent={self.latent!r}"


def _keep(name: str, seen: dict[str, Tensor]) -> Hook:
    def hook(module: nn.Module, args: object, result: object) -> Tensor:
        if not isinstance(result, Tensor):
            raise InputError(
                f"layer {name!r} returns {type(result).__name__}; only tensors can be read"
            )
        seen[name] = result
        # The next layer gets a copy, which an in-place activation may change.
        return result.clone()

    return hook


def tap(model: nn.Module, layers: Sequence[str], *, latent: str | None = None) -> Tap:
    """Make any module return `ModelOutput(logits, latent, activations)`.

    Args:
        model: any classifier; its weights are shared, not copied. A compiled model runs
            uncompiled; compile the result of `tap` instead.
        layers: names as in `model.named_modules()`, with or without the prefixes of
            `torch.compile` and `DistributedDataParallel`. Their outputs appear in `activations`;
            of a layer that runs several times, the last one.
        latent: the layer whose (flattened) output is used as a deterministic code; `None` for
            none.

    Raises:
        ConfigError: for a layer that the model does not have, naming the nearest ones.
        InputError: in the forward pass, for a layer that is not run or returns no tensor.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> tap(net, ["1"])(torch.rand(5, 4)).activations["1"].shape
        torch.Size([5, 3])
    """
    for layer in [*layers, *([latent] if latent else [])]:
        layer_of(model, layer)
    return Tap(model, layers, latent)
