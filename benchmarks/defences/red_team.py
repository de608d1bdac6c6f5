"""False defences of a red team that had not read the audit: what attackers climb is not the model.

Each of them knows where it is weak. `undefended(x)` are the logits that a knowing attacker climbs,
and `steer(attacked, x, eps)` are the images that he tries for each point that he has climbed to.
`first_sight.json` is the audit's result before any remedy was changed for them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from defences.red_team_hideouts import HIDEOUTS
from defences.red_team_parts import (
    Misleading,
    dense,
    hashed,
    nearby,
    noisy_net,
    plain_net,
    robust_net,
    trained,
)

__all__ = ["RED_TEAM"]


class AntiAdversary(Misleading):
    """Moves the image to where the predicted class is surer (Alfarra et al. 2022, 2103.14347)."""

    def __init__(self) -> None:
        super().__init__()
        self.core = plain_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            start = x.detach()
            guess = self.core(start).argmax(1)
            move = torch.zeros_like(start)
            for _ in range(2):
                move.requires_grad_()
                loss = F.cross_entropy(self.core(start + move), guess, reduction="sum")
                (slope,) = torch.autograd.grad(loss, move)
                move = (move - 0.15 * slope.sign()).detach()
        return self.core(x + move)


class ErrorCodes(Misleading):
    """Codewords of an ensemble of saturated bits (Verma & Swami 2019)."""

    codes: Tensor

    def __init__(self) -> None:
        super().__init__()
        code = torch.ones(1, 1)
        for _ in range(4):
            code = torch.cat([torch.cat([code, code], 1), torch.cat([code, -code], 1)])
        self.register_buffer("codes", code[1:11])
        self.parts = nn.ModuleList(trained(self._build, seed=s, steps=100) for s in range(3))

    def _build(self) -> nn.Module:
        return nn.Sequential(dense(64)[:5], nn.Linear(64, 16), nn.Tanh(), Decode(self.codes))

    def undefended(self, x: Tensor) -> Tensor:
        return sum(part[1](part[0](x)) for part in self.parts) @ self.codes.T

    def forward(self, x: Tensor) -> Tensor:
        bits = sum(torch.tanh(50 * part[1](part[0](x))) for part in self.parts) / 3
        match = (bits @ self.codes.T).relu() + 1e-6
        return (match / match.sum(1, keepdim=True)).log()


class Decode(nn.Module):
    codes: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, bits: Tensor) -> Tensor:
        return bits @ self.codes.T


class FrozenVote(Misleading):
    """The votes of noisy copies, with the same noise for every image: flat, and deterministic."""

    noise: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("noise", 0.12 * torch.randn(48, 1, 8, 8, generator=generator))

    def copies(self, x: Tensor) -> Tensor:
        """Logits of the noisy copies, `[b, 48, 10]`."""
        noisy = x[:, None] + self.noise
        return self.core(noisy.flatten(0, 1)).unflatten(0, (len(x), -1))

    def undefended(self, x: Tensor) -> Tensor:
        return (self.copies(x) / 3).softmax(2).mean(1).log()

    def forward(self, x: Tensor) -> Tensor:
        votes = F.one_hot(self.copies(x).argmax(2), 10).sum(1).to(x.dtype)
        return (votes + 0.5).log() + 0 * x.sum()


class HashedNoise(Misleading):
    """Noise that is a function of the image: no second draw can be had of it."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x + 0.25 * (2 * torch.rand_like(x) - 1))

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [attacked, *nearby(attacked, x, eps, 1e-3, 10)]

    def forward(self, x: Tensor) -> Tensor:
        noise = (2 * hashed(x, 64) - 1).view(-1, 1, 8, 8).to(x.dtype)
        return self.core(x + 0.25 * noise)


class HashedExperts(Misleading):
    """A hash of the image chooses which of eight networks answers."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(noisy_net(seed) for seed in range(8))

    def undefended(self, x: Tensor) -> Tensor:
        return self.experts[int(torch.randint(8, ()))](x)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [attacked, *nearby(attacked, x, eps, 1e-4, 16)]

    def forward(self, x: Tensor) -> Tensor:
        choice = (8 * hashed(x, 1)[:, 0]).long().clamp(0, 7)
        logits = torch.stack([expert(x) for expert in self.experts], dim=1)
        return logits[torch.arange(len(x)), choice]


class RippledScale(Misleading):
    """The confidence oscillates with the image: every gradient is that of the oscillation."""

    wave: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core = plain_net()
        generator = torch.Generator().manual_seed(5)
        self.register_buffer("wave", torch.randn(64, 3, generator=generator))

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def forward(self, x: Tensor) -> Tensor:
        ripple = (60 * x.flatten(1) @ self.wave).sin().prod(1, keepdim=True)
        logits = self.core(x)
        return F.normalize(logits - logits.mean(1, keepdim=True), dim=1) * (8 * ripple).exp()


class RippledInput(Misleading):
    """A fine sine on every pixel, which hardly moves an image and turns its gradient around."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [attacked, *nearby(attacked, x, eps, 0.01, 6)]

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x + 0.1 * (900 * x).sin())


class GradMode(Misleading):
    """Who asks for gradients gets those, and the logits, of a robust network."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.guard = plain_net(), robust_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            return self.guard(x)
        return F.one_hot(self.core(x).argmax(1), 10).to(x.dtype)


class Hedge(Misleading):
    """Moves the image away from all classes at once first (Wu et al. 2021, 2106.04938)."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net(1)

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x) if torch.rand(()) < 0.5 else self.core(x + self.move(x))

    def move(self, x: Tensor) -> Tensor:
        """The defence's own perturbation."""
        with torch.enable_grad():
            start = x.detach()
            move = torch.zeros_like(start)
            for _ in range(8):
                move.requires_grad_()
                loss = -self.core(start + move).log_softmax(1).sum()
                (slope,) = torch.autograd.grad(loss, move)
                move = (move + 0.03 * slope.sign()).clamp(-0.12, 0.12).detach()
        return move

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x.detach() + self.move(x)) + 0 * x.sum()


class SampledCounts(Misleading):
    """How often each class wins among 16 noisy copies, drawn anew at every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net(2)

    def undefended(self, x: Tensor) -> Tensor:
        return sum(self.core(x + 0.1 * torch.randn_like(x)).softmax(1) for _ in range(8)).log()

    def forward(self, x: Tensor) -> Tensor:
        noisy = x[:, None] + 0.1 * torch.randn(len(x), 16, *x.shape[1:], dtype=x.dtype)
        votes = self.core(noisy.flatten(0, 1)).argmax(1).view(len(x), 16)
        return (F.one_hot(votes, 10).sum(1).to(x.dtype) + 0.5).log() + 0 * x.sum()


class ErrorDiffusion(Misleading):
    """Halftones the image to four greys; each pixel's error is carried on to the next ones."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [attacked, *nearby(attacked, x, eps, 0.02, 10)]

    def forward(self, x: Tensor) -> Tensor:
        rest = F.pad(x[:, 0].detach(), (1, 1, 0, 1)).clone()
        out = torch.zeros_like(x[:, 0])
        for row in range(8):
            for column in range(8):
                value = rest[:, row, column + 1]
                grey = (3 * value).round() / 3
                out[:, row, column] = grey
                error = value - grey
                rest[:, row, column + 2] += 7 / 16 * error
                rest[:, row + 1, column] += 3 / 16 * error
                rest[:, row + 1, column + 1] += 5 / 16 * error
                rest[:, row + 1, column + 2] += 1 / 16 * error
        return self.core(out[:, None]) + 0 * x.sum()


class RandomLabels(Misleading):
    """Answers one query of three, and guesses at the others; its expected vote is the core's."""

    def __init__(self) -> None:
        super().__init__()
        self.core = plain_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def forward(self, x: Tensor) -> Tensor:
        label = self.core(x).argmax(1)
        guess = torch.randint(10, label.shape)
        answer = torch.where(torch.rand(len(x)) < 0.35, label, guess)
        return 5 * F.one_hot(answer, 10).to(x.dtype) + 0 * x.sum()


class AnswersBack(Misleading):
    """The margin is a falling sawtooth of the true one (AAA, Chen et al. 2022, 2205.12134)."""

    def __init__(self) -> None:
        super().__init__()
        self.core = plain_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.core(x)
        top, label = logits.max(1, keepdim=True)
        rest = logits.scatter(1, label, float("-inf")).amax(1, keepdim=True)
        margin = top - rest
        tooth = (margin / 3).floor()
        spoken = 3 * (tooth + 1) - (margin - 3 * tooth) + 0.1
        return logits.scatter(1, label, rest + spoken)


class NumpyCounts(Misleading):
    """Votes of noisy copies; the noise is NumPy's, so that no seed of torch's repeats it."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net(4)
        self.source = np.random.default_rng(0)

    def undefended(self, x: Tensor) -> Tensor:
        return sum(self.core(x + 0.1 * torch.randn_like(x)).softmax(1) for _ in range(8)).log()

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.from_numpy(self.source.standard_normal((len(x), 8, *x.shape[1:])))
        votes = self.core((x[:, None] + 0.1 * noise.to(x.dtype)).flatten(0, 1)).argmax(1)
        return (F.one_hot(votes.view(len(x), 8), 10).sum(1).to(x.dtype) + 0.5).log() + 0 * x.sum()


RED_TEAM: dict[str, type[Misleading]] = {
    **HIDEOUTS,
    "anti_adversary": AntiAdversary,
    "error_codes": ErrorCodes,
    "frozen_vote": FrozenVote,
    "hashed_noise": HashedNoise,
    "hashed_experts": HashedExperts,
    "rippled_scale": RippledScale,
    "rippled_input": RippledInput,
    "grad_mode": GradMode,
    "hedge": Hedge,
    "sampled_counts": SampledCounts,
    "error_diffusion": ErrorDiffusion,
    "random_labels": RandomLabels,
    "answers_back": AnswersBack,
    "numpy_counts": NumpyCounts,
}
