"""Parts of the red team's defences: networks trained on the digits in seconds, and hashes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from narrows.data import load

__all__ = [
    "Misleading",
    "dense",
    "digits",
    "hashed",
    "nearby",
    "noisy_net",
    "plain_net",
    "robust_net",
    "trained",
    "within",
]


class Misleading(nn.Module):
    """A model that tells a knowing attacker where to climb."""

    def undefended(self, x: Tensor) -> Tensor:
        """Logits with honest gradients."""
        raise NotImplementedError

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        """Images to try, for each one that was climbed to."""
        return [attacked]


def hashed(x: Tensor, streams: int) -> Tensor:
    """Pseudo-random numbers in [0, 1), `[b, streams]`, that any change of an image changes."""
    flat = x.detach().flatten(1).float()
    weights = torch.linspace(3.1, 17.9, flat.shape[1]).sin()
    phase = 1e4 * (flat @ weights)[:, None] + 78.233 * torch.arange(1, streams + 1)
    return (phase.sin() * 43758.5453).frac().abs()


def within(x_adv: Tensor, x: Tensor, eps: float) -> Tensor:
    """`x_adv` brought back into the ball and the box."""
    return torch.min(torch.max(x_adv, x - eps), x + eps).clamp(0, 1)


def nearby(attacked: Tensor, x: Tensor, eps: float, size: float, count: int) -> list[Tensor]:
    """Random changes of at most `size`, inside the ball."""
    moves = [size * (2 * torch.rand_like(x) - 1) for _ in range(count)]
    return [within(attacked + move, x, eps) for move in moves]


@cache
def digits() -> tuple[Tensor, Tensor]:
    """The training images, `[n, 1, 8, 8]`, and their classes."""
    return load("digits").train.all()


def dense(width: int = 128) -> nn.Sequential:
    """An untrained network of two hidden layers."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 10),
    )


def trained(
    build: Callable[[], nn.Module],
    *,
    seed: int = 0,
    eps: float = 0.0,
    noise: float = 0.0,
    steps: int = 150,
    rate: float = 5e-3,
) -> nn.Module:
    """A network trained on all images at once, on PGD's with `eps`, on noisy ones with `noise`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build()
        x, y = digits()
        optimiser = torch.optim.Adam(net.parameters(), rate)
        for _ in range(steps):
            images = _attacked(net, x, y, eps) if eps else x + noise * torch.randn_like(x)
            loss = F.cross_entropy(net(images), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net.eval().requires_grad_(False)


def _attacked(net: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    moved = (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(4):
        moved.requires_grad_()
        loss = F.cross_entropy(net(moved), y)
        (slope,) = torch.autograd.grad(loss, moved)
        moved = moved.detach() + eps / 2 * slope.sign()
        moved = within(moved, x, eps)
    return moved


@cache
def _stored(kind: str, seed: int) -> dict[str, Tensor]:
    options = {"plain": {}, "robust": {"eps": 0.11, "steps": 120}, "noisy": {"noise": 0.15}}[kind]
    return trained(dense, seed=seed, **options).state_dict()


def _net(kind: str, seed: int) -> nn.Module:
    net = dense()
    net.load_state_dict(_stored(kind, seed))
    return net.eval().requires_grad_(False)


def plain_net(seed: int = 0) -> nn.Module:
    """Trained on clean images: little is left of it within .1."""
    return _net("plain", seed)


def robust_net(seed: int = 0) -> nn.Module:
    """Trained on PGD's images."""
    return _net("robust", seed)


def noisy_net(seed: int = 0) -> nn.Module:
    """Trained on images with Gaussian noise."""
    return _net("noisy", seed)
