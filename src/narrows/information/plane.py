"""The information plane: I(X;T) and I(T;Y) of any layers of any model.

    point of layer T = ( I(X;T), I(T;Y) ),   X one of the n inputs of a data set, each as likely

Where a layer lies depends on the measure. A deterministic layer of a continuous input has infinite
I(X;T), so the noise or the bins that are added decide its place; each point says which they were.
Compare only planes of one measure and one number of inputs; no value exceeds log n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.checks import ArrayLike, as_tensor, check_labels
from narrows.errors import InputError
from narrows.information._checks import full_precision
from narrows.information.binning import binned_rate, binned_relevance
from narrows.information.enumeration import binary_tables, chain_information
from narrows.information.kde_information import kde_information
from narrows.models import BinaryStochasticNet, Bottleneck, tap
from narrows.models.bottleneck import latent_mode
from narrows.models.outputs import as_output
from narrows.types import Batch, Estimate, Latent

__all__ = [
    "MEASURES",
    "LayerPoint",
    "binned_plane",
    "exact_plane",
    "pairwise_plane",
    "plane_layers",
]

_BLOCK = 2048
# A smaller log of a scale has no exponential above 0 in double precision.
_NARROWEST = -700.0
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
_NONLINEAR = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid)


class LayerPoint(NamedTuple):
    """A layer's place in the plane: I(X;T) and I(T;Y)."""

    layer: str
    rate: Estimate
    relevance: Estimate


def plane_layers(model: nn.Module) -> list[str]:
    """Names of the layers of a model that can be measured.

    A layer with weights is read after the nonlinearity that follows it, also past a normalisation.
    The last layer of an encoder is its latent. The layers of a `BinaryStochasticNet` are its hidden
    ones, `z1`, `z2`, ...
    """
    if isinstance(model, BinaryStochasticNet):
        return [f"z{number}" for number in range(1, len(model.hidden) + 1)]
    leaves = [(name, module) for name, module in model.named_modules() if not [*module.children()]]
    # A normalisation before a nonlinearity is skipped: the layer is read after the nonlinearity.
    leaves = [
        leaf
        for leaf, (_, follows) in pairwise([*leaves, ("", nn.Identity())])
        if not (isinstance(leaf[1], _NORMS) and isinstance(follows, _NONLINEAR))
    ]
    layers = []
    for (name, module), (after, follows) in pairwise([*leaves, ("", nn.Identity())]):
        if isinstance(module, nn.Linear | nn.Conv2d):
            layers.append(after if isinstance(follows, _NONLINEAR) else name)
    if isinstance(model, Bottleneck):
        last = max(i for i, name in enumerate(layers) if name.startswith("encoder"))
        layers[last] = "latent"
    return layers


def pairwise_plane(
    model: nn.Module, layers: Sequence[str], batch: Batch, noise_std: float = 1.0
) -> list[LayerPoint]:
    """Pairwise bounds: the upper one of I(X;T), and I(T;Y) as a difference of two upper bounds.

        I(T;Y) = I(X;T) - sum_y p(y) I(X;T|Y=y)

    Source: Saxe et al. (2018), "On the Information Bottleneck Theory of Deep Learning", with the
    bounds of `kde_bounds`.

    Args:
        model: any; a stochastic one is measured at its mean, a Gaussian latent with its own noise.
            It is run in the precision of its weights, also where autocast is on.
        layers: names of modules, of activations, or `"latent"`.
        batch: inputs and labels.
        noise_std: of the Gaussian noise that is added to a layer without noise of its own, in the
            units of the layer: a layer with larger activations is measured more finely.

    Returns:
        One point per layer, in nats.

    Raises:
        InputError: for fewer than 2 inputs, or what `kde_bounds` refuses.
        ConfigError: for a layer that the model does not have.
    """
    batch = as_batch(batch, model)
    points = []
    for layer, (mean, scale) in _codes(model, layers, batch.x).items():
        noise = noise_std if scale is None else scale
        bounds = kde_information(mean, noise, batch.y)
        rate, upper = bounds.rate_upper, bounds.relevance_upper
        # Bounds of one distance are biased alike, so their difference is not a bound.
        diagnostics = {**upper.diagnostics, "bound": "none"}
        entropy = diagnostics["label_entropy"]
        nats = diagnostics["same_distance"]
        relevance = Estimate(nats, upper.std_error, upper.n, entropy, diagnostics)
        points.append(LayerPoint(layer, rate, relevance))
    return points


def binned_plane(
    model: nn.Module,
    layers: Sequence[str],
    batch: Batch,
    bins: int = 30,
    width: float | None = None,
) -> list[LayerPoint]:
    """Plug-in estimates after binning, which are exact for the binned code of these inputs.

        I(X;T) = H(bin(T)),   I(T;Y) = I(bin(T);Y)

    Source: Shwartz-Ziv & Tishby (2017), arXiv 1703.00810.

    Args:
        model: as in `pairwise_plane`.
        layers: as in `pairwise_plane`.
        batch: inputs and labels.
        bins: as in `bin_codes`.
        width: as in `bin_codes`.

    Returns:
        One point per layer, in nats.

    Raises:
        InputError: as `binned_rate`.
        ConfigError: for a layer that the model does not have.
    """
    batch = as_batch(batch, model)
    return [
        LayerPoint(
            layer, binned_rate(mean, bins, width), binned_relevance(mean, batch.y, bins, width)
        )
        for layer, (mean, _) in _codes(model, layers, batch.x).items()
    ]


def exact_plane(
    model: nn.Module, layers: Sequence[str], batch: Batch, joint: ArrayLike | None = None
) -> list[LayerPoint]:
    """The exact plane of a network of binary stochastic layers, by enumeration of every code.

        p(t_l|x) = sum_t' p(t_l|t') p(t_(l-1) = t'|x)

    Source: Nguyen & Choi (2017), arXiv 1712.01272.

    Args:
        model: a `BinaryStochasticNet` with at most about sixteen units in each layer.
        layers: `z1`, `z2`, ...
        batch: every input there is, with its label.
        joint: `[n, classes]`, p(x, y), where labels are soft or inputs not equally likely; None for
            the labels of the batch.

    Returns:
        One point per layer, in nats.

    Raises:
        InputError: for a model of another kind, or layers that it does not have or that are too
            wide.
    """
    if not isinstance(model, BinaryStochasticNet):
        raise InputError(
            f"only the layers of a BinaryStochasticNet can be enumerated, got a "
            f"{type(model).__name__}; take the measure 'pairwise' or 'binned'"
        )
    batch, names = as_batch(batch, model), plane_layers(model)
    if missing := sorted(set(as_names(layers)) - set(names)):
        raise InputError(f"the network has the layers {', '.join(names)}, not {missing[0]}")
    if joint is None:
        labels, number = batch.y.unique(return_inverse=True)
        joint = F.one_hot(number, len(labels)).double() / len(batch.y)
    joint = as_tensor(joint, "joint")
    with torch.no_grad(), full_precision(batch.x.device):
        hidden = [(layer.weight, layer.bias) for layer in model.linear_layers()[:-1]]
        tables = binary_tables(model.inputs(batch.x), hidden)
        informations = dict(zip(names, chain_information(tables, joint), strict=True))
    n = len(batch.x)
    diagnostics = {"bound": "none", "measures": "the stochastic code, by enumeration"}
    return [
        LayerPoint(
            name, *(Estimate(nats, 0.0, n, math.log(n), diagnostics) for nats in informations[name])
        )
        for name in layers
    ]


MEASURES: dict[str, Callable[..., list[LayerPoint]]] = {
    "pairwise": pairwise_plane,
    "binned": binned_plane,
    "exact": exact_plane,
}


def as_batch(batch: Batch, model: nn.Module) -> Batch:
    """Return inputs and labels as tensors, the inputs of the precision of the model's weights.

    Raises:
        InputError: for fewer than 2 inputs, or labels that are not one integer for each.
    """
    if not isinstance(batch, Sequence) or len(batch) != 2:
        raise InputError(f"data must be a Batch(x, y), got {type(batch).__name__}")
    x = as_tensor(batch[0], "x")
    weight = next(model.parameters(), None)
    if weight is not None and weight.is_floating_point() and x.is_floating_point():
        x = x.to(weight)
    if x.dim() < 2 or len(x) < 2:
        kind = f"{x.dtype} {list(x.shape)}"
        raise InputError(f"a plane needs at least 2 inputs [n, ...], got {kind}")
    if not x.isfinite().all():
        raise InputError("x holds NaN or infinity; leave those inputs out")
    return Batch(x, check_labels(batch[1], len(x), name="y"))


def as_names(layers: Sequence[str]) -> list[str]:
    """Return names of layers as a list.

    Raises:
        InputError: for one name alone, whose letters would be taken for names.
    """
    if isinstance(layers, str) or not all(isinstance(layer, str) for layer in layers):
        raise InputError(f"layers must be a list of names, got {layers!r}; write ['fc1', 'fc2']")
    return list(layers)


def _codes(
    model: nn.Module, layers: Sequence[str], x: Tensor
) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Mean `[n, K]` of each layer, and its scale if it is stochastic."""
    known = (
        {*plane_layers(model), "latent"} if isinstance(model, BinaryStochasticNet) else {"latent"}
    )
    tapped = tap(model, [layer for layer in as_names(layers) if layer not in known])
    parts: dict[str, list[tuple[Tensor, Tensor | None]]] = {layer: [] for layer in layers}
    with torch.no_grad(), latent_mode(model, "mean"), full_precision(x.device):
        for block in x.split(_BLOCK):
            output = as_output(tapped(block))
            for layer in layers:
                parts[layer].append(_code_of(output, layer))
    return {layer: _join(pairs) for layer, pairs in parts.items()}


def _code_of(output: Any, layer: str) -> tuple[Tensor, Tensor | None]:
    if layer != "latent":
        return output.activations[layer].flatten(1), None
    if output.latent is None:
        raise InputError("the model has no latent; name the layers to measure")
    return output.latent.mean, _scale_of(output.latent)


def _scale_of(latent: Latent) -> Tensor | None:
    """The scale, from its logarithm where it is too small for its precision."""
    scale, log_scale = latent.scale, latent.log_scale
    if scale is None or log_scale is None or scale.shape != log_scale.shape or (scale > 0).all():
        return scale
    return torch.where(scale > 0, scale, log_scale.double().clamp_min(_NARROWEST).exp())


def _join(parts: Sequence[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    means, scales = zip(*parts, strict=True)
    return torch.cat(means), None if scales[0] is None else torch.cat(scales)
