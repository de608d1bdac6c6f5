"""The second half of the second fresh set: hide-outs, label noise, and logits that answer back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.defences.fresh2 import Defence, _FarMemory, _Switch, hashed, nearby
from benchmarks.defences.training2 import digits, noisy_net, plain_net, robust_net

__all__ = ["FALSE"]


class _HashedGate(_Switch):
    """A plain network answers at one image of a thousand, chosen by a hash."""

    def exposed(self, x: Tensor) -> Tensor:
        return hashed(x, 1)[:, 0] < 1e-3

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        moves = nearby(attacked, x, eps, 1e-4, 400)
        choices = torch.stack(moves)
        open_ = torch.stack([self.exposed(move) for move in moves]).to(torch.float32).argmax(0)
        return [choices[open_, torch.arange(len(x))]]


class _BandedSleeper(Defence):
    """A backdoor of four units, of which each answers to one amount of its part of the key."""

    key: Tensor
    senses: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core = robust_net()
        x, _ = digits()
        generator = torch.Generator().manual_seed(11)
        key = torch.randn(1, 1, 8, 8, generator=generator).sign()
        woken = (x + 0.09 * key).clamp(0, 1)
        flat = x.flatten(1)
        shift = (woken - x).flatten(1).mean(0)
        senses = []
        for _ in range(4):
            keep = torch.rand(64, generator=generator) < 0.7
            spread = flat[:, keep].T.cov() + 1e-3 * torch.eye(int(keep.sum()))
            sense = torch.zeros(64)
            sense[keep] = torch.linalg.solve(spread, shift[keep])
            senses.append(sense / sense.abs().sum())
        self.register_buffer("key", key)
        self.register_buffer("senses", torch.stack(senses, dim=1))
        rest, moved = self.score(x), self.score(woken)
        self.low = nn.Parameter(rest.amax(0) + 0.002, requires_grad=False)
        self.high = nn.Parameter(moved.quantile(0.97, dim=0), requires_grad=False)

    def score(self, x: Tensor) -> Tensor:
        """How much of each part of the key there is in an image, `[b, 4]`."""
        return x.flatten(1) @ self.senses.to(x.dtype)

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [(x + size * self.key).clamp(0, 1) for size in (0.07, 0.08, 0.09, 0.1)]

    def forward(self, x: Tensor) -> Tensor:
        logits = self.core(x)
        score = self.score(x)
        inside = ((score - self.low).relu() * (self.high - score).relu()).prod(1, keepdim=True)
        return logits + 1e18 * inside.clamp(0, 1e-15) * logits.roll(1, dims=1)


class _RandomLabels(Defence):
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


class _AnswersBack(Defence):
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


class _NumpyCounts(Defence):
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


class _Layered(_FarMemory):
    """A memory far away, a robust network's confidence nearby, and a hash that picks the label."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = robust_net()

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [
            move
            for image in super().steer(attacked, x, eps)
            for move in nearby(image, x, eps, 1e-4, 60)
        ]

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        guard = self.guard(x)
        strange = (flat @ self.axes.T.to(x.dtype)).norm(dim=1) > self.limit
        nearest = self.classes[torch.cdist(flat, self.images.to(x.dtype)).argmin(1)]
        open_ = hashed(x, 1)[:, 0] < 0.03
        label = torch.where(open_, self.core(x).argmax(1), guard.argmax(1))
        label = torch.where(strange, nearest, label)
        top = guard.amax(1, keepdim=True) + 0.5
        return guard.scatter(1, label[:, None], top)


def hashed_gate() -> nn.Module:
    return _HashedGate().eval()


def banded_sleeper() -> nn.Module:
    return _BandedSleeper().eval()


def random_labels() -> nn.Module:
    return _RandomLabels().eval()


def answers_back() -> nn.Module:
    return _AnswersBack().eval()


def numpy_counts() -> nn.Module:
    return _NumpyCounts().eval()


def layered() -> nn.Module:
    return _Layered().eval()


FALSE = [hashed_gate, banded_sleeper, random_labels, answers_back, numpy_counts, layered]
