"""False defences to audit the audit with: each leaves a model as weak as it was, and looks strong.

Each wraps any classifier, changes next to nothing in what it says about clean images, and makes
FGSM or PGD on the cross-entropy in float32 report an accuracy that is not there.

Source: the mechanisms are those of Athalye, Carlini & Wagner (2018), arXiv 1802.00420 (shattered,
stochastic and vanishing gradients), Carlini & Wagner (2017), arXiv 1608.04644 (distillation), and
Pintor et al. (2022), arXiv 2106.09947. None is anybody's published defence.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.models.outputs import logits_of

__all__ = [
    "PLANTED",
    "Detached",
    "JPEGLike",
    "NoisyInput",
    "NoisyLatent",
    "NoisyWeights",
    "Planted",
    "Probabilities",
    "Quantised",
    "Sawtooth",
    "ScaledLogits",
    "Shattered",
    "SteepSigmoids",
    "Stopped",
    "Temperature",
]


class Planted(nn.Module):
    """A classifier behind a false defence: what goes in, or what comes out, is changed."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[n, classes]`, or what takes their place."""
        return self.after(logits_of(self.model, self.before(x)))

    def before(self, x: Tensor) -> Tensor:
        """What the model is shown."""
        return x

    def after(self, logits: Tensor) -> Tensor:
        """What is returned."""
        return logits


class ScaledLogits(Planted):
    """Breaks: the loss must not saturate. In float32 its gradient is exactly zero."""

    def after(self, logits: Tensor) -> Tensor:
        """Multiply by ten thousand."""
        return 1e4 * logits


class Temperature(Planted):
    """Breaks: train and test at one temperature. Logits are fifty times those of training."""

    def after(self, logits: Tensor) -> Tensor:
        """What distillation at T = 50, used at T = 1, leaves."""
        return 50 * logits


class Probabilities(Planted):
    """Breaks: return logits. Cross-entropy of probabilities is flat wherever they are sure."""

    def after(self, logits: Tensor) -> Tensor:
        """A sharp softmax."""
        return (40 * logits).softmax(1)


class Quantised(Planted):
    """Breaks: attack through what has no derivative. Rounding's is zero."""

    def before(self, x: Tensor) -> Tensor:
        """Round to 16 steps."""
        return (16 * x).round() / 16


class SteepSigmoids(Planted):
    """Breaks: a derivative must be seen in floating point. Sixteen smooth steps, each too steep."""

    def before(self, x: Tensor) -> Tensor:
        """The sum of sigmoids of gain 20,000 around the middles between sixteenths."""
        steps = (torch.arange(16, dtype=x.dtype, device=x.device) + 0.5) / 16
        return torch.sigmoid(2e4 * (x.unsqueeze(-1) - steps)).mean(-1)


class Sawtooth(Planted):
    """Breaks: a derivative must say where the function goes. On each step it points back."""

    def before(self, x: Tensor) -> Tensor:
        """A staircase of 32 steps, each of which falls a little on its way."""
        step = (32 * x).floor()
        return (step + 0.5 - 0.5 * (32 * x - step)) / 32


class Shattered(Planted):
    """Breaks: a derivative must hold over an attack's step. A ripple of slope 100 drowns it."""

    def before(self, x: Tensor) -> Tensor:
        """Add a ripple two hundredths high."""
        return x + 0.02 * torch.sin(5000 * x + 1)


class _Stop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        return torch.zeros_like(gradients[0])


class Stopped(Planted):
    """Breaks: gradients must be those of the function. A layer that does nothing returns zero."""

    def before(self, x: Tensor) -> Tensor:
        """The image itself."""
        return _Stop.apply(x)


class Detached(Planted):
    """Breaks: preprocessing is part of the model. A filter outside the graph: no gradient."""

    def before(self, x: Tensor) -> Tensor:
        """A slight blur in NumPy."""
        pixels = x.detach().cpu().numpy()
        blurred = pixels.copy()
        blurred[..., 1:] += 0.1 * (pixels[..., :-1] - pixels[..., 1:])
        return torch.from_numpy(blurred).to(x)


class _BlockRounding(nn.Module):
    """Round the cosine coefficients of each 8x8 block of `[n, channels, height, width]`."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step
        k = torch.arange(8.0)
        basis = torch.cos(math.pi / 8 * k[:, None] * (k + 0.5)) / 2
        basis[0] /= math.sqrt(2)
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
        blocks = padded.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).transpose(-3, -2)
        basis = self.get_buffer("basis").to(x.dtype)
        coefficients = basis @ blocks @ basis.T
        rounded = (coefficients / self.step).round() * self.step
        back = (basis.T @ rounded @ basis).transpose(-3, -2)
        return back.flatten(-4, -3).flatten(-2)[..., :height, :width]


class JPEGLike(Planted):
    """Breaks: attack through what has no derivative. Compression by rounded cosine coefficients."""

    def __init__(self, model: nn.Module, step: float = 0.1) -> None:
        super().__init__(model)
        self.compress = _BlockRounding(step)

    def before(self, x: Tensor) -> Tensor:
        """Compress and decompress images `[n, channels, height, width]`."""
        return self.compress(x)


class NoisyInput(Planted):
    """Breaks: attack the expectation. A small random ripple, whose slope is of a random sign."""

    def before(self, x: Tensor) -> Tensor:
        """A ripple two hundredths high whose phase is drawn anew at every pixel."""
        return x + 0.02 * torch.sin(5000 * x + 2 * math.pi * torch.rand_like(x))


class NoisyWeights(Planted):
    """Breaks: attack the expectation. Beside the model each pass has random weights of its own.

    What they say averages out; their gradient is far larger than the model's.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the model and of random weights on a steep feature of each pixel."""
        logits = super().forward(x)
        features = torch.sin(200 * x.flatten(1)) / x[0].numel() ** 0.5
        weight = torch.randn(features.shape[1], logits.shape[1], dtype=x.dtype, device=x.device)
        return logits + 2 * features @ weight


class NoisyLatent(Planted):
    """Breaks: attack the expectation. The latent's noise is as large as a ripple of the latent."""

    def after(self, logits: Tensor) -> Tensor:
        """Noise of standard deviation 2 at most, on the logits as the latent."""
        return logits + 2 * torch.sin(200 * logits) * torch.randn_like(logits)


PLANTED: dict[str, type[Planted]] = {
    "scaled_logits": ScaledLogits,
    "temperature": Temperature,
    "probabilities": Probabilities,
    "quantised": Quantised,
    "jpeg_like": JPEGLike,
    "steep_sigmoids": SteepSigmoids,
    "sawtooth": Sawtooth,
    "shattered": Shattered,
    "stopped": Stopped,
    "detached": Detached,
    "noisy_input": NoisyInput,
    "noisy_weights": NoisyWeights,
    "noisy_latent": NoisyLatent,
}
