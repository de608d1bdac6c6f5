"""What a knowing attacker leaves of a red team's defence: he climbs `undefended`, and steers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from defences.red_team_parts import Misleading, within

__all__ = ["knowing_attack"]

_VOTES = 200  # draws of a stochastic model


def knowing_attack(
    model: Misleading, x: Tensor, y: Tensor, eps: float, steps: int = 40, rounds: int = 12
) -> Tensor:
    """Which images the model still classifies correctly, `[n]`.

    Round 0 climbs untargeted; each later one climbs towards the class of that rank.
    """
    torch.manual_seed(0)
    stochastic = not torch.equal(model(x), model(x))
    right = _right(model, x, y, stochastic)
    ranks = model.undefended(x).scatter(1, y[:, None], -1e9).argsort(1, descending=True)
    for number in range(rounds):
        rows = right.nonzero().squeeze(1)
        if not len(rows):
            break
        target = ranks[rows, (number - 1) % 9] if number else None
        right[rows] &= _climb(model, x[rows], y[rows], target, eps, steps, stochastic)
    return right


def _climb(
    model: Misleading,
    x: Tensor,
    y: Tensor,
    target: Tensor | None,
    eps: float,
    steps: int,
    stochastic: bool,
) -> Tensor:
    held = torch.ones(len(x), dtype=torch.bool)
    at = (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for step in range(steps):
        at.requires_grad_()
        logits = model.undefended(at)
        own = logits.gather(1, y[:, None])[:, 0]
        if target is None:
            other = logits.scatter(1, y[:, None], -1e9).amax(1)
        else:
            other = logits.gather(1, target[:, None])[:, 0]
        (slope,) = torch.autograd.grad((other - own).sum(), at)
        size = eps * (0.5 if step < steps / 2 else 0.1)
        at = at.detach() + size * slope.sign()
        at = within(at, x, eps)
        if step % 3 and step < steps - 6:
            continue
        for image in model.steer(at, x, eps):
            assert (image - x).abs().max() <= eps + 1e-6
            assert image.min() >= 0
            assert image.max() <= 1
            held &= _right(model, image, y, stochastic)
    return held


@torch.no_grad()
def _right(model: Misleading, x: Tensor, y: Tensor, stochastic: bool) -> Tensor:
    if not stochastic:
        return model(x).argmax(1) == y
    if (model(x).argmax(1) == y).to(torch.float32).mean() > 0.999:
        return torch.ones(len(x), dtype=torch.bool)
    votes = sum(F.one_hot(model(x).argmax(1), 10) for _ in range(_VOTES))
    return votes.argmax(1) == y
