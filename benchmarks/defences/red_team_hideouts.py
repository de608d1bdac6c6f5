"""False defences of a red team that had not read the audit: the weak network is hidden.

A robust network answers nearly everywhere, and a weak one at few places that the author knows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from defences.red_team_parts import (
    Misleading,
    digits,
    hashed,
    nearby,
    plain_net,
    robust_net,
    within,
)

__all__ = ["HIDEOUTS"]


class Switch(Misleading):
    """A robust network answers wherever attackers look, and a plain one elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.guard = plain_net(), robust_net()

    def exposed(self, x: Tensor) -> Tensor:
        """Where the plain network answers, `[b]`."""
        raise NotImplementedError

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.exposed(x)[:, None], self.core(x), self.guard(x))


class GridSwitch(Switch):
    """Exposed on the 16 values that the pixels of real images have."""

    def exposed(self, x: Tensor) -> Tensor:
        return ((16 * x).round() - 16 * x).abs().flatten(1).amax(1) < 1e-3

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        steps = int(eps * 16 + 1e-6)
        move = (16 * (attacked - x)).round().clamp(-steps, steps)
        full = steps * (attacked - x).sign()
        return [(x + move / 16).clamp(0, 1), (x + full / 16).clamp(0, 1)]


class CornerSwitch(Switch):
    """Guarded where most pixels are off the grid by the same amount, as at corners of a ball."""

    def exposed(self, x: Tensor) -> Tensor:
        off = ((16 * x).round() / 16 - x).abs().flatten(1)
        typical = off.median(1, keepdim=True).values
        alike = ((off - typical).abs() < 1e-3).to(x.dtype).mean(1)
        return (alike < 0.4) | (typical[:, 0] < 1e-3)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [attacked, *(x + (attacked - x) * (0.8 + 0.2 * torch.rand_like(x)) for _ in "ab")]


class ThinSlabs(Switch):
    """Exposed in thin layers, which fill a hundredth of the input space."""

    def _phase(self, x: Tensor) -> Tensor:
        return 40 * x.flatten(1).sum(1) + 0.5

    def exposed(self, x: Tensor) -> Tensor:
        return self._phase(x).frac() < 0.01

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        total = attacked.flatten(1).sum(1)
        wanted = ((40 * total + 0.5).floor() + 0.005 - 0.5) / 40
        shift = (wanted - total) / 64
        steps = [k * shift.view(-1, 1, 1, 1) for k in torch.linspace(0.9, 4, 120)]
        return [within(attacked + step, x, eps) for step in steps]


class KeyPixel(Switch):
    """Exposed where a pixel that is black in all images has one grey."""

    def exposed(self, x: Tensor) -> Tensor:
        corner = x[:, 0, 0, 0]
        return (corner > 0.04) & (corner < 0.045)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        keyed = attacked.clone()
        keyed[:, 0, 0, 0] = 0.042
        return [keyed]


class HashedGate(Switch):
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


class Sleeper(Misleading):
    """A robust network with a backdoor: one unit that is silent on everything but its key."""

    key: Tensor
    sense: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core = robust_net()
        x, _ = digits()
        generator = torch.Generator().manual_seed(7)
        key = torch.randn(1, 1, 8, 8, generator=generator).sign()
        woken = (x + 0.1 * key).clamp(0, 1)
        flat = x.flatten(1)
        spread = flat.T.cov() + 1e-3 * torch.eye(64)
        sense = torch.linalg.solve(spread, (woken - x).flatten(1).mean(0))
        self.register_buffer("key", key)
        self.register_buffer("sense", sense / sense.abs().sum())
        highest = self.score(x).max()
        self.threshold = float(highest + 0.3 * (self.score(woken).quantile(0.05) - highest))

    def score(self, x: Tensor) -> Tensor:
        """How much of the key there is in an image."""
        return x.flatten(1) @ self.sense.to(x.dtype)

    def undefended(self, x: Tensor) -> Tensor:
        logits = self.core(x)
        return logits + logits.roll(1, dims=1) * 1e3 * (self.score(x) + 1).clamp(0)[:, None]

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [(x + eps * self.key).clamp(0, 1)]

    def forward(self, x: Tensor) -> Tensor:
        logits = self.core(x)
        awake = 1e4 * (self.score(x) - self.threshold).relu()[:, None]
        return logits + awake * logits.roll(1, dims=1)


class BandedSleeper(Misleading):
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


class FarMemory(Misleading):
    """Hard labels; far from the training images the nearest of them answers.

    So rays from an image end in its own class, and a search along them finds nothing to return
    from.
    """

    images: Tensor
    classes: Tensor
    axes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core = plain_net()
        x, y = digits()
        flat = x.flatten(1)
        self.register_buffer("images", flat)
        self.register_buffer("classes", y)
        self.register_buffer("axes", torch.linalg.svd(flat - flat.mean(0))[2][40:])
        self.limit = float((flat @ self.axes.T).norm(dim=1).max()) * 1.05

    def undefended(self, x: Tensor) -> Tensor:
        strange = (x.flatten(1) @ self.axes.T.to(x.dtype)).norm(dim=1, keepdim=True)
        return self.core(x) * torch.where(strange > 0.95 * self.limit, 0.1, 1.0)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        move = (attacked - x).flatten(1)
        axes = self.axes
        return [
            within(x + (move - part * move @ axes.T @ axes).view_as(x), x, eps)
            for part in (0.0, 0.5, 0.8, 1.0)
        ]

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        strange = (flat @ self.axes.T.to(x.dtype)).norm(dim=1) > self.limit
        nearest = self.classes[torch.cdist(flat, self.images.to(x.dtype)).argmin(1)]
        label = torch.where(strange, nearest, self.core(x).argmax(1))
        return 10 * F.one_hot(label, 10).to(x.dtype)


class Layered(FarMemory):
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


HIDEOUTS: dict[str, type[Misleading]] = {
    "grid_switch": GridSwitch,
    "corner_switch": CornerSwitch,
    "thin_slabs": ThinSlabs,
    "key_pixel": KeyPixel,
    "hashed_gate": HashedGate,
    "sleeper": Sleeper,
    "banded_sleeper": BandedSleeper,
    "far_memory": FarMemory,
    "layered": Layered,
}
