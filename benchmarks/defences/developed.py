"""False defences on which the remedies of the audit were developed, beside `PLANTED`.

They stand for kinds that an earlier audit missed: traps, hard labels, purifiers made of
comparisons, discretised latents, memory, and noise that begins off the data.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.audit.planted import Planted
from narrows.models.outputs import logits_of


class Trap(Planted):
    """Smooth, with its true gradient, and the surer the nearer to another class."""

    def after(self, logits: Tensor) -> Tensor:
        """One over the gap, for the class that leads."""
        logits = logits.log_softmax(1)
        top = logits.topk(2, 1)
        gap = top.values[:, :1] - top.values[:, 1:] + 0.1
        return torch.zeros_like(logits).scatter(1, top.indices[:, :1], 1.0) / gap


class HardLabels(Planted):
    """Nothing but the class, with the gradient of random weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.register_buffer(
            "weight", torch.randn(4096, 10, generator=torch.Generator().manual_seed(5))
        )

    def forward(self, x: Tensor) -> Tensor:
        """One-hot, plus a differentiable nothing."""
        hard = F.one_hot(logits_of(self.model, x).argmax(1), 10).to(x)
        decoy = x.flatten(1) @ self.get_buffer("weight")[: x[0].numel()].to(x)
        return hard + 1e-3 * decoy / x[0].numel() ** 0.5


class Comparisons(Planted):
    """Sixteen levels by comparisons, of which no function that is known to round is part."""

    def before(self, x: Tensor) -> Tensor:
        """The share of thresholds that each pixel is above."""
        levels = (torch.arange(16, dtype=x.dtype, device=x.device) + 0.5) / 16
        return (x.unsqueeze(-1) > levels).to(x.dtype).mean(-1)


class CodeBook(Planted):
    """Logits looked up in a table of their rounded values."""

    def after(self, logits: Tensor) -> Tensor:
        """The entry whose number the logit falls into."""
        edges = torch.linspace(-40, 40, 41, dtype=logits.dtype, device=logits.device)
        table = 2 * torch.arange(42, dtype=logits.dtype, device=logits.device) - 42
        return F.embedding(torch.bucketize(logits, edges), table[:, None]).squeeze(-1)


class Counter(Planted):
    """Stays itself for 3,000 images, then freezes what it says."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        """Logits, that lose their gradient with use."""
        self.seen += len(x)
        logits = logits_of(self.model, x)
        return logits if self.seen < 3000 else 30 * logits.sign() + 0 * logits


class OffGridNoise(Planted):
    """No noise on pixels that are sixteenths, as those of the digits are; much beside them."""

    def before(self, x: Tensor) -> Tensor:
        """Noise in proportion to the distance from the grid."""
        off = (16 * x - (16 * x).round()).abs()
        return x + 0.6 * off * torch.randn_like(x)


class ClampedLogits(Planted):
    """The log-probabilities clamped where they say anything."""

    def after(self, logits: Tensor) -> Tensor:
        """Between -0.05 and 0."""
        return (20 * logits).log_softmax(1).clamp(-0.05, 0)


DEVELOPED: dict[str, type[Planted]] = {
    "trap": Trap,
    "hard_labels": HardLabels,
    "comparisons": Comparisons,
    "code_book": CodeBook,
    "counter": Counter,
    "off_grid_noise": OffGridNoise,
    "clamped_logits": ClampedLogits,
}
