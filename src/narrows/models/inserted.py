"""A stochastic bottleneck after a layer of any network, whose other layers are unchanged.

    h = layer(x),   z ~ p(z|h),   h' = reshape(W z + b)

The layer's output `[batch, ...]` is flattened and mapped linearly to the latent's means and scales.
A draw is mapped linearly back to the same shape, h', with which the rest of the network continues.
A connection that bypasses the layer, such as a skip connection, bypasses the latent too. After the
average pooling of a residual network there is none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from narrows.checks import ArrayLike, as_tensor, check_count
from narrows.errors import InputError
from narrows.models.bottleneck import Bottleneck, LatentKind
from narrows.models.evaluating import evaluating
from narrows.models.gaussian import code_width
from narrows.models.layers import hooked, layer_of
from narrows.models.outputs import as_output
from narrows.types import Latent, ModelOutput

__all__ = ["InsertedBottleneck", "insert_bottleneck"]


class InsertedBottleneck(nn.Module):
    """A network with a latent after one of its layers; see `insert_bottleneck`.

    Attributes:
        model: the network, its weights shared.
        bottleneck: the inserted `Bottleneck`, with its `mode` and `samples`.
    """

    def __init__(self, model: nn.Module, at: str, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.model, self.at, self.bottleneck = model, at, bottleneck
        self._skipped = False

    def forward(self, x: Tensor) -> ModelOutput:
        """Logits and latent, with a leading samples axis where `bottleneck.samples` is set."""
        samples = self.bottleneck.samples if self.bottleneck.mode == "sample" else None
        if samples is None or self.bottleneck.latent == "deterministic":
            logits, latent = self._run(x)
            return ModelOutput(logits, latent)
        if self._skipped:
            return self._repeated(x, samples)
        try:  # the layers before the latent run once for all draws
            logits, latent = self._run(x)
            return ModelOutput(logits.unflatten(0, (samples, len(x))), latent)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # a connection that bypasses the latent has one row per image
            output = self._repeated(x, samples)
            self._skipped = True
            return output

    def _repeated(self, x: Tensor, samples: int) -> ModelOutput:
        """Repeat each image `samples` times, one draw per row."""
        self.bottleneck.samples = None
        try:
            logits, latent = self._run(x.repeat(samples, *[1] * (x.dim() - 1)))
        finally:
            self.bottleneck.samples = samples
        rows: dict[str, Any] = {
            name: value if value is None else value[: len(x)]
            for name, value in latent._asdict().items()
        }
        z = latent.z.unflatten(0, (samples, len(x)))
        return ModelOutput(logits.unflatten(0, (samples, len(x))), Latent(**{**rows, "z": z}))

    def _run(self, x: Tensor) -> tuple[Tensor, Latent]:
        """One pass; the logits have as many rows as the latent has draws."""
        passed: list[Latent] = []

        def hook(module: nn.Module, args: object, result: object) -> Tensor:
            if not isinstance(result, Tensor) or result.dim() < 2:
                got = type(result).__name__
                raise InputError(f"layer {self.at!r} returns {got}, not a tensor [batch, ...]")
            if passed:
                raise InputError(
                    f"the model runs its layer {self.at!r} more than once; "
                    "insert the latent after a layer that runs once"
                )
            decoder = self.bottleneck.decoder
            if isinstance(decoder, _Lazy):
                decoder.out_features = result[0].numel()
            features, latent, _ = self.bottleneck(result)
            passed.append(latent)
            return features.reshape(-1, *result.shape[1:])

        with hooked(self.model, {self.at: hook}):
            logits = as_output(self.model(x)).logits
        if not passed:
            raise InputError(f"the forward pass of the model never runs its layer {self.at!r}")
        return logits, passed[0]

    def extra_repr(self) -> str:
        """The layer after which the latent is."""
        return f"at={self.at!r}"


class _Lazy(nn.LazyLinear):
    """A linear map that gets its widths in the first pass, with the initial weights of `mlp`."""

    def reset_parameters(self) -> None:
        if self.in_features and not isinstance(self.weight, UninitializedParameter):
            nn.init.xavier_uniform_(self.weight)
            nn.init.zeros_(self.bias)


def insert_bottleneck(
    module: nn.Module,
    at: str = "avgpool",
    width: int = 64,
    latent: LatentKind = "gaussian",
    *,
    example: ArrayLike | None = None,
) -> InsertedBottleneck:
    """Insert a latent after a layer of any network, so that VIB, CEB, NIB or AIB can train it.

    Args:
        module: any classifier; its weights are shared, not copied.
        at: name of the layer, as in `module.named_modules()`, whose output `[batch, ...]` goes
            through the latent.
        width: K, number of units of z.
        latent: its kind, as in `Bottleneck`; `VIB.latent` is the kind of a method.
        example: one batch of inputs, from which the width of the layer's output is found. Without
            it the two linear maps get their widths in the first forward pass: run one before you
            pass the parameters to an optimiser, or compile, distribute or stack the model.

    Returns:
        A module that returns `ModelOutput(logits, latent)`.

    Raises:
        ConfigError: for a layer that the network does not have, naming the nearest ones, or an
            unknown kind of latent.
        InputError: in the forward pass, for a layer that is not run, is run more than once, or does
            not return a tensor.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> model = insert_bottleneck(net, at="1", width=3)
        >>> output = model(torch.rand(5, 4))
        >>> output.logits.shape, output.latent.mean.shape
        (torch.Size([5, 2]), torch.Size([5, 3]))
    """
    layer_of(module, at)
    width = check_count(width, "width")
    encoder = nn.Sequential(nn.Flatten(), _Lazy(code_width(latent, width)))
    inserted = Bottleneck(encoder, _Lazy(0), latent=latent)
    weight = next(module.parameters(), None)
    if weight is not None:
        inserted = inserted.to(weight.device, weight.dtype)
    model = InsertedBottleneck(module, at, inserted)
    if example is not None:
        x = as_tensor(example, "example")
        if weight is not None and not isinstance(example, Tensor):
            x = x.to(weight.device, weight.dtype)
        with torch.no_grad(), evaluating(model):
            model(x)
    return model
