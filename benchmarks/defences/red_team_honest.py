"""Honest models of odd kinds beside those of the red team: an audit must accuse none of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from defences.red_team_parts import digits, noisy_net, plain_net, robust_net, trained

__all__ = ["HONEST"]


class _Ensemble(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        parts = [plain_net(0), plain_net(1), robust_net(0), noisy_net(0), noisy_net(1)]
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([part(x).softmax(1) for part in self.parts]).mean(0).log()


class _SoftNeighbours(nn.Module):
    """A kernel density for each class around all training images."""

    images: Tensor
    classes: Tensor

    def __init__(self) -> None:
        super().__init__()
        x, y = digits()
        self.register_buffer("images", x.flatten(1))
        self.register_buffer("classes", F.one_hot(y, 10).to(x.dtype))

    def forward(self, x: Tensor) -> Tensor:
        nearness = -20 * torch.cdist(x.flatten(1), self.images.to(x.dtype)).square()
        top = nearness.amax(1, keepdim=True)
        mass = (nearness - top).exp() @ self.classes.to(x.dtype)
        return (mass + 1e-20).log()


class _Radial(nn.Module):
    """Gaussian units around 80 training images."""

    def __init__(self) -> None:
        super().__init__()
        x, _ = digits()
        self.centres = nn.Parameter(x.flatten(1)[:80].clone())
        self.width = nn.Parameter(torch.tensor(0.5))
        self.out = nn.Linear(80, 10)

    def forward(self, x: Tensor) -> Tensor:
        apart = x.flatten(1)[:, None] - self.centres
        return self.out((-self.width * apart.square().sum(2)).exp() * 10)


class _Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sin() + x / 4


class _Attention(nn.Module):
    """Self-attention over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.place = nn.Parameter(0.1 * torch.randn(8, 32))
        self.query, self.key, self.value = (nn.Linear(32, 32) for _ in range(3))
        self.out = nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        rows = self.embed(x[:, 0]) + self.place
        weights = self.query(rows) @ self.key(rows).transpose(1, 2) / 32**0.5
        return self.out(rows + weights.softmax(2) @ self.value(rows))


class _Noisy(nn.Module):
    """Gaussian noise on the input, drawn at every pass."""

    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + self.scale * torch.randn_like(x))


class _DropsPixels(nn.Module):
    """A tenth of the pixels is dropped at every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained(lambda: nn.Sequential(nn.Dropout(0.1), _dense_relu()), seed=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.net[1](F.dropout(x, 0.1, training=True))


class _Forest(nn.Module):
    """Soft decision trees of depth four."""

    def __init__(self) -> None:
        super().__init__()
        self.splits = nn.Linear(64, 20 * 15)
        self.leaves = nn.Parameter(0.1 * torch.randn(20, 16, 10))

    def forward(self, x: Tensor) -> Tensor:
        right = (3 * self.splits(x.flatten(1))).sigmoid().view(-1, 20, 15)
        reach = torch.ones_like(right[..., :1])
        for depth in range(4):
            gate = right[..., 2**depth - 1 : 2 ** (depth + 1) - 1]
            reach = torch.stack([reach * (1 - gate), reach * gate], dim=3).flatten(2)
        return torch.einsum("btl,tlc->bc", reach, self.leaves)


class _Scaled(nn.Module):
    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.net(x)


def _dense_relu(activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), activation(), nn.Linear(128, 64), activation(),
        nn.Linear(64, 10),
    )  # fmt: skip


def _pooled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(12, 24, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip


def ensemble() -> nn.Module:
    return _Ensemble().eval()


def soft_neighbours() -> nn.Module:
    return _SoftNeighbours().eval()


def radial() -> nn.Module:
    return trained(_Radial, eps=0.1, steps=100, rate=1e-2)


def sine_trained() -> nn.Module:
    return trained(lambda: _dense_relu(_Sine), eps=0.1, steps=100)


def coarse_weights() -> nn.Module:
    net = robust_net(1)
    with torch.no_grad():
        for weight in net.parameters():
            step = weight.abs().max() / 7
            weight.copy_((weight / step).round() * step)
    return net


def faint_logits() -> nn.Module:
    return _Scaled(robust_net(2), 1e-4).eval()


def huge_linear() -> nn.Module:
    build = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    return _Scaled(trained(build, steps=300, rate=2e-2), 30.0).eval()


def max_pooled() -> nn.Module:
    return trained(_pooled, eps=0.1, steps=60, rate=1e-2)


def attention() -> nn.Module:
    return trained(_Attention, eps=0.1, steps=60)


def noisy_input() -> nn.Module:
    return _Noisy(noisy_net(3), 0.1).eval()


def noisy_robust() -> nn.Module:
    return _Noisy(robust_net(3), 0.05).eval()


def drops_pixels() -> nn.Module:
    return _DropsPixels().eval()


def soft_forest() -> nn.Module:
    return trained(_Forest, steps=150, rate=2e-2)


HONEST: dict[str, Callable[[], nn.Module]] = {
    "ensemble": ensemble,
    "soft_neighbours": soft_neighbours,
    "radial": radial,
    "sine_trained": sine_trained,
    "coarse_weights": coarse_weights,
    "faint_logits": faint_logits,
    "huge_linear": huge_linear,
    "max_pooled": max_pooled,
    "attention": attention,
    "noisy_input": noisy_input,
    "noisy_robust": noisy_robust,
    "drops_pixels": drops_pixels,
    "soft_forest": soft_forest,
}
