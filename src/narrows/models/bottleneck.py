"""Encoder, latent and decoder: the model that every bottleneck method trains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.checks import check_count
from narrows.errors import ConfigError, InputError, unknown_name
from narrows.models.gaussian import (
    LatentKind,
    cholesky_parameters,
    draw,
    log_of_scale,
    raw_scales,
    root_softplus,
    split_parameters,
)
from narrows.models.outputs import as_output, average_logits
from narrows.models.precision import at_least_float32, in_autocast
from narrows.types import Latent, ModelOutput

__all__ = [
    "Bottleneck",
    "LatentActivation",
    "LatentKind",
    "Mode",
    "Stochastic",
    "as_classifier",
    "check_activation",
    "check_draws",
    "check_mode",
    "draw_logits",
    "latent_mode",
    "resting_mode",
]

Mode = Literal["sample", "mean"]
LatentActivation = Literal["none", "relu"]

_AT_ONCE = 16_384  # latents drawn for one pass of a decoder
_MOST_DRAWS = 1_000_000


class Stochastic(nn.Module):
    """Base of the stochastic modules, whose mode `latent_mode` changes inside any model.

    Attributes:
        mode: `"sample"` or `"mean"`; it can be changed at any time.
        samples: draws per input; `None` means one, without a samples axis in the output.
        mean_is_model: whether mode `"mean"` is the same network without its noise, by which the
            model may be evaluated; else it is a different network.

    Raises:
        ConfigError: for an unknown mode or fewer than one sample.
    """

    mean_is_model: ClassVar[bool] = True

    def __init__(self, mode: Mode, samples: int | None) -> None:
        super().__init__()
        check_mode(mode, samples)
        self.mode: Mode = mode
        self.samples = samples

    def extra_repr(self) -> str:
        """Mode and samples."""
        return f"mode={self.mode!r}, samples={self.samples}"


class Bottleneck(Stochastic):
    """A classifier with a latent z between an encoder and a decoder of the user's choice.

        p(z|x) = delta(z - f(x))              latent="deterministic", the encoder returns f(x)
        p(z|x) = N(mu(x), diag sigma(x)^2)    latent="gaussian", [mu, raw sigma]
        p(z|x) = N(mu(x), L(x) L(x)^T)        latent="full", [mu, raw lower triangle]
        p(z|x) = N(mu(x), L(x) L(x)^T)        latent="cholesky", likewise, with another map to L
        p(z|x) = N(mu(x), I)                  latent="unit", mu
        p(z|x) = N(mu(x), s^2 I)              latent="shared", mu; s^2 = softplus(raw_variance)

    Source: `"gaussian"`, `"full"` and `"cholesky"`: Alemi et al. (2017), arXiv 1612.00410, section
    4; `"unit"`: Fischer & Alemi (2020), arXiv 2002.05380; `"shared"`: Kolchinsky, Tracey & Wolpert
    (2019), arXiv 1705.02436. `narrows.models.gaussian` has the maps from raw outputs to scales.

    Args:
        encoder: `x [batch, ...] -> [batch, K]`; `[batch, 2 K]` for a Gaussian latent, `[batch, K (K
            + 3) / 2]` for the two with full covariance.
        decoder: `z [batch, K] -> logits [batch, classes]`.
        latent: `"deterministic"`, `"gaussian"` (diagonal covariance), `"full"`, `"cholesky"`,
            `"unit"` (noise of standard deviation 1) or `"shared"` (one learned standard deviation,
            1 at first).
        mode: `"sample"` draws z from p(z|x), `"mean"` decodes its mean. No difference for a
            deterministic latent. An attribute, so it can be changed at any time.
        samples: draws per input; `None` means one, without a samples axis in the output.
        activation: `"relu"` rectifies a deterministic latent, `"none"` leaves it as it is.

    Raises:
        ConfigError: for an unknown `latent`, `mode` or `activation`, or fewer than one sample.
        InputError: in the forward pass, for an encoder that does not return `[batch, features]`, or
            another number of features than the latent needs.

    Example:
        >>> import torch
        >>> model = Bottleneck(nn.Linear(4, 6), nn.Linear(3, 2), latent="gaussian")
        >>> output = model(torch.rand(5, 4))
        >>> output.logits.shape, output.latent.mean.shape
        (torch.Size([5, 2]), torch.Size([5, 3]))
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        latent: LatentKind = "deterministic",
        mode: Mode = "sample",
        samples: int | None = None,
        activation: LatentActivation = "none",
    ) -> None:
        super().__init__(mode, samples)
        if latent not in get_args(LatentKind):
            valid = ", ".join(map(repr, get_args(LatentKind)))
            raise ConfigError(f"latent must be one of {valid}, got {latent!r}")
        check_activation(activation, latent)
        self.encoder = encoder
        self.decoder = decoder
        self.latent: LatentKind = latent
        self.activation: LatentActivation = activation
        if latent == "shared":
            self.raw_variance = nn.Parameter(torch.tensor(math.log(math.e - 1)))

    def forward(self, x: Tensor) -> ModelOutput:
        """Logits and latent, both with a leading samples axis where `samples` is set."""
        latent = self.encode(x)
        if latent.z.dim() <= 2:
            return ModelOutput(self.decoder(latent.z), latent)
        logits = self.decoder(latent.z.flatten(0, 1))
        return ModelOutput(logits.unflatten(0, latent.z.shape[:2]), latent)

    def encode(self, x: Tensor) -> Latent:
        """The latent alone, without running the decoder."""
        check_mode(self.mode, self.samples)
        code = self.encoder(x)
        if code.dim() != 2:
            raise InputError(
                f"an encoder returns [batch, features], got {tuple(code.shape)}; "
                "end it with nn.Flatten()"
            )
        if self.latent == "deterministic":
            code = F.relu(code) if self.activation == "relu" else code
            return Latent(z=code, mean=code)
        mean, scale = self._posterior(at_least_float32(code))
        z = mean if self.mode == "mean" else draw(mean, scale, self.samples)
        log_scale = self._log_scale(code, scale)
        if not in_autocast(code.device):  # a network whose weights are halves
            z, mean, scale = (part.to(code.dtype) for part in (z, mean, scale))
        return Latent(z, mean, scale, log_scale)

    def _posterior(self, code: Tensor) -> tuple[Tensor, Tensor]:
        if self.latent == "unit":
            return code, torch.ones_like(code)
        if self.latent == "shared":
            scale = root_softplus(at_least_float32(self.raw_variance))
            return code, scale.to(code.dtype).expand_as(code)
        if self.latent in ("full", "cholesky"):
            return cholesky_parameters(code, self.latent)
        if code.shape[-1] % 2:
            raise InputError(
                "the encoder of a Gaussian latent returns means and scales side by side, "
                f"so an even number of features; got {code.shape[-1]}"
            )
        return split_parameters(code)

    def _log_scale(self, code: Tensor, scale: Tensor) -> Tensor:
        """Log of the scale, from the raw outputs where the scale itself is rounded to 0."""
        if self.latent == "unit":
            return torch.zeros_like(scale)
        if self.latent == "shared":
            return log_of_scale(scale, at_least_float32(self.raw_variance) / 2)
        full = scale.dim() > code.dim()
        diagonal = scale.diagonal(dim1=-2, dim2=-1) if full else scale
        t = raw_scales(at_least_float32(code), scale.shape[-1], self.latent)
        return log_of_scale(diagonal, t)

    def extra_repr(self) -> str:
        """Latent, mode, samples and activation."""
        rectified = f", activation={self.activation!r}" if self.activation != "none" else ""
        return f"latent={self.latent!r}, {super().extra_repr()}{rectified}"


@contextmanager
def latent_mode(model: nn.Module, mode: Mode, samples: int | None = None) -> Iterator[None]:
    """Inside the block, set the mode of every stochastic module of `model`.

    Args:
        model: any module.
        mode: `"sample"` or `"mean"`.
        samples: draws per input; `None` for one, without a samples axis.

    Raises:
        ConfigError: for an unknown mode or fewer than one sample.
    """
    check_mode(mode, samples)
    drawing = [module for module in model.modules() if isinstance(module, Stochastic)]
    before: list[tuple[Stochastic, Mode, int | None]] = [
        (module, module.mode, module.samples) for module in drawing
    ]
    try:
        for module in drawing:
            module.mode, module.samples = mode, samples
        yield
    finally:
        for module, old_mode, old_samples in before:
            module.mode, module.samples = old_mode, old_samples


def resting_mode(model: nn.Module, samples: int = 16) -> tuple[Mode, int | None]:
    """Mode and samples for evaluation: the mean where it is the same model, else draws."""
    drawn = any(isinstance(m, Stochastic) and not m.mean_is_model for m in model.modules())
    return ("sample", samples) if drawn else ("mean", None)


class _Classifier(nn.Module):
    def __init__(self, model: nn.Module, mode: Mode, samples: int | None) -> None:
        super().__init__()
        self.model = model
        self.mode: Mode = mode
        self.samples = samples

    def forward(self, x: Tensor) -> Tensor:
        with latent_mode(self.model, self.mode, self.samples):
            return average_logits(as_output(self.model(x)).logits)

    def draw_logits(self, x: Tensor, count: int) -> Tensor:
        """Logits `[count, batch, classes]` of `count` passes; see `draw_logits`."""
        if self.mode == "mean" or not _draws_in_one_place(self.model):
            return torch.stack([self(x) for _ in range(count)])
        each = self.samples or 1
        at_once = max(1, _AT_ONCE // (each * len(x)))
        parts = []
        for done in range(0, count, at_once):
            passes = min(at_once, count - done)
            with latent_mode(self.model, "sample", passes * each):
                logits = as_output(self.model(x)).logits
            if logits.dim() == 2:  # nothing is drawn
                return logits.expand(count, *logits.shape)
            draws = logits.unflatten(0, (passes, each)).transpose(0, 1)
            mean = draws.log_softmax(-1).logsumexp(0) - math.log(each)
            parts.append(draws[0] if each == 1 else mean)
        return torch.cat(parts)


def draw_logits(model: nn.Module, x: Tensor, count: int) -> Tensor:
    """Logits `[count, batch, classes]` of `count` forward passes of any classifier.

    A `Bottleneck` without other noise than its latent's runs its encoder only once.

    Args:
        model: any classifier.
        x: inputs `[batch, ...]`.
        count: number of passes.
    """
    draw_many = getattr(model, "draw_logits", None)
    if draw_many is not None and count > 1:
        return draw_many(x, count)
    return torch.stack([average_logits(as_output(model(x)).logits) for _ in range(count)])


def _draws_in_one_place(model: nn.Module) -> bool:
    """Whether the model is a `Stochastic` whose parts are known to draw nothing themselves."""
    known = ("torch.nn.", "narrows.models.")
    inside = [part for part in model.modules() if part is not model]
    return isinstance(model, Stochastic) and all(
        type(part).__module__.startswith(known) and not isinstance(part, Stochastic)
        for part in inside
    )


def as_classifier(model: nn.Module, samples: int | None = None, mode: Mode = "sample") -> nn.Module:
    """A plain classifier, `x -> logits [batch, classes]`, of any model of this library.

    It returns the logarithm of averaged *probabilities*, which any attack library can use as
    logits.

    Args:
        model: a model with or without a stochastic latent.
        samples: latents that each forward pass draws and averages over; `None` for one.
        mode: `"sample"`, or `"mean"` to decode the posterior mean without drawing.

    Raises:
        ConfigError: for an unknown mode or fewer than one sample.
    """
    check_mode(mode, samples)
    return _Classifier(model, mode, samples)


def check_mode(mode: str, samples: int | None) -> None:
    """Refuse an unknown mode, fewer than one sample, or more than a million.

    Raises:
        ConfigError: saying which are valid.
    """
    if mode not in get_args(Mode):
        raise ConfigError(f"mode must be 'sample' or 'mean', got {mode!r}")
    if samples is not None:
        check_draws(samples, "samples")


def check_draws(count: object, name: str) -> int:
    """Return a number of draws from 1 to a million, whose results are in memory together.

    Raises:
        ConfigError: for anything else.
    """
    if type(count) is int and 1 <= count <= _MOST_DRAWS:  # the usual case, in every forward pass
        return count
    number = check_count(count, name)
    if number > _MOST_DRAWS:
        raise ConfigError(f"{name} must be at most {_MOST_DRAWS:,}, got {number}")
    return number


def check_activation(activation: str, latent: str | None) -> None:
    """Refuse an unknown activation, or one on a latent with a distribution.

    Raises:
        ConfigError: saying why.
    """
    if activation not in get_args(LatentActivation):
        raise unknown_name("latent activation", str(activation), get_args(LatentActivation))
    if activation != "none" and latent not in (None, "deterministic"):
        raise ConfigError(
            f"a {latent} latent has no activation, which would change its distribution; "
            "leave it out, or use a deterministic latent"
        )
